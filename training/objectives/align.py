"""The alignment objective: the modalities of a record are close, those of others are far."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mmfeat.models.alignment import MAX_REFERENCES, AlignmentModel, is_present, score_alignment
from mmfeat.models.base import Model
from mmfeat.models.tasks import Align
from mmfeat.models.tasks.align import ALIGNMENT, BIAS, MISALIGNMENT
from mmfeat.models.tasks.multilabel import sigmoid
from training.metrics import (
    MAX_ROWS,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    RECALL_KS,
    binary_ece,
    binary_nll,
    evaluate_direction,
    rank_both_directions,
    sample_rows,
)
from training.objectives.base import LossFunction, Objective
from training.objectives.losses import SIGLIP, infonce_loss, siglip_loss
from training.recipe import Recipe

MAX_VALIDATION_ROWS = 5_000
"""Maximum number of validation rows for retrieval after each epoch; more are sampled."""

_CALIBRATION_ROWS = 2_000
_LOSS_ROWS = 512


class AlignObjective(Objective):
    """There is no target: the targets are zeros. `bind_task` sets the task."""

    metrics: ClassVar = (*(f"recall_at_{k}" for k in RECALL_KS), "median_rank")
    minimized: ClassVar = frozenset({"median_rank"})

    @property
    def align(self) -> Align:
        """The task."""
        assert isinstance(self.task, Align)
        return self.task

    @property
    def min_modalities(self) -> int:
        """See `Objective.min_modalities`: one pair."""
        return Align.min_modalities

    @property
    def target_columns(self) -> list[str]:
        """See `Objective.target_columns`: none."""
        return []

    def read_targets(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read_targets`."""
        return np.zeros(len(table), np.uint8)

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.has_target`."""
        return np.ones(len(targets), bool)

    def fit_targets(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.fit_targets`."""
        return targets

    def build_loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.build_loss`."""
        return self._loss

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`; samples if there are more than `MAX_VALIDATION_ROWS`."""
        sample = logits[sample_rows(len(logits), MAX_VALIDATION_ROWS)]
        metrics = _average(self._evaluate_directions(sample))
        parts = np.array_split(sample, max(1, round(len(sample) / _LOSS_ROWS)))
        losses = [float(self._loss(torch.from_numpy(part), torch.empty(0))) for part in parts]
        return {**metrics, "loss": float(np.mean(losses))}

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`: stores references and fits the temperature on other rows.

        At the fitted temperature, the misalignment best separates those rows' own pairs from pairs
        of two different rows.
        """
        assert isinstance(module, AlignmentModel)
        z = torch.from_numpy(self.align.vectors(logits))
        z = z[torch.from_numpy(np.random.default_rng(0).permutation(len(z)))]
        # With few rows, half of them are references.
        references = min(MAX_REFERENCES, max(len(z) // 2, 1))
        module.references[:, :references] = z[:references].transpose(0, 1)
        rest = z[references : references + _CALIBRATION_ROWS]
        pairs = torch.stack([rest, _shuffle_modalities(rest)])
        pairs = pairs[:, (is_present(pairs).sum(dim=2) >= 2).all(dim=0)]
        if not pairs.shape[1]:
            return {}
        truth = np.repeat([0, 1], pairs.shape[1])[:, None]

        def misalignment(temperature: float) -> np.ndarray:
            z, t = pairs.flatten(0, 1), torch.tensor(temperature)
            log_ratio = score_alignment(z, module.references, t)[1]
            return sigmoid(-log_ratio.double().numpy())[:, None]

        def nll(temperature: float) -> float:
            return float(binary_nll(misalignment(temperature), truth))

        step = (MAX_TEMPERATURE / MIN_TEMPERATURE) ** (1 / 16)
        coarse = min(np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 17), key=nll)
        temperature = float(min(np.geomspace(coarse / step, coarse * step, 17), key=nll))
        module.temperature.fill_(temperature)
        before, after = misalignment(1.0), misalignment(temperature)
        return {
            "value": float(module.temperature),
            "nll_before": float(binary_nll(before, truth)),
            "nll_after": float(binary_nll(after, truth)),
            "ece_before": binary_ece(before, truth),
            "ece_after": binary_ece(after, truth),
            "auroc_of_shuffled": float(roc_auc_score(truth[:, 0], after[:, 0])),
        }

    def evaluate(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.evaluate`; samples if there are more than `MAX_ROWS` rows."""
        directions = self._evaluate_directions(scores[sample_rows(len(scores), MAX_ROWS)])
        return {
            "rows": len(scores),
            **_average(directions),
            "mean_alignment": float(scores[:, ALIGNMENT].mean()),
            "mean_misalignment": float(scores[:, MISALIGNMENT].mean()),
            "per_direction": directions,
        }

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: -log(1 - misalignment)."""
        with np.errstate(divide="ignore"):
            return -np.log1p(-scores[:, MISALIGNMENT].astype(np.float64))

    def to_arrow(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.to_arrow`: nulls."""
        return pa.nulls(len(targets), pa.string())

    def least_squares_targets(self, targets: Tensor) -> Tensor:
        """See `Objective.least_squares_targets`: not defined."""
        raise NotImplementedError

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over the pairs of modalities; 0 if no record has a pair."""
        width = self.align.hidden
        z = outputs[:, :BIAS].float().unflatten(1, (-1, width))
        present = is_present(z)
        losses = []
        for a, b in combinations(range(z.shape[1]), 2):
            rows = present[:, a] & present[:, b]
            if rows.any():
                logits = z[rows, a] @ z[rows, b].T
                if self.align.align_loss == SIGLIP:
                    losses.append(siglip_loss(logits + outputs[0, BIAS]))
                else:
                    losses.append(infonce_loss(logits))
        return torch.stack(losses).mean() if losses else 0 * outputs.sum()

    def _evaluate_directions(self, outputs: np.ndarray) -> dict[str, dict[str, float | int]]:
        """Return retrieval metrics by direction, such as `image to text`, if a record has both."""
        return dict(_iterate_directions(self.align.vectors(outputs), self.align.modalities))


def _iterate_directions(
    z: np.ndarray, names: list[str]
) -> Iterator[tuple[str, dict[str, float | int]]]:
    present = (z != 0).any(axis=2)
    for a, b in combinations(range(len(names)), 2):
        rows = present[:, a] & present[:, b]
        if rows.any():
            x, y = (_normalize(z[rows, modality]) for modality in (a, b))
            x_to_y, y_to_x = rank_both_directions(x, y)
            yield f"{names[a]} to {names[b]}", evaluate_direction(x_to_y, y)
            yield f"{names[b]} to {names[a]}", evaluate_direction(y_to_x, x)


def _normalize(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _average(directions: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    return {
        name: float(np.mean([m[name] for m in directions.values()])) if directions else None
        for name in AlignObjective.metrics
    }


def _shuffle_modalities(z: Tensor) -> Tensor:
    """Return records whose modalities come from different records of z."""
    return torch.stack([z[:, m].roll(m, dims=0) for m in range(z.shape[1])], dim=1)
