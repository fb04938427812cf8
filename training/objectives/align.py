"""Records as their own labels: what belongs together shall be near, all else far."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mmfeat.models.alignment import REFERENCES, AlignmentModel, is_there, judge
from mmfeat.models.base import Model
from mmfeat.models.tasks import Align
from mmfeat.models.tasks.align import ALIGNMENT, BIAS, MISALIGNMENT
from mmfeat.models.tasks.multilabel import sigmoid
from training.evaluation import retrieval
from training.evaluation.calibration import COLDEST, HOTTEST, binary_ece, binary_nll
from training.fit.recipe import Recipe
from training.objectives.base import LossFunction, Objective
from training.objectives.contrastive import SIGLIP, infonce, siglip

VALIDATED = 5_000
"""Validation rows that look for each other after each epoch; of more, a sample."""

_CALIBRATED = 2_000
_LOSS_ROWS = 512


class AlignObjective(Objective):
    """There are no targets: zeros stand in their place. The task must be told by `know`."""

    metrics: ClassVar = (*(f"recall_at_{k}" for k in retrieval.KS), "median_rank")
    falling: ClassVar = frozenset({"median_rank"})

    @property
    def align(self) -> Align:
        """The task."""
        assert isinstance(self.task, Align)
        return self.task

    @property
    def least(self) -> int:
        """See `Objective.least`: one pair."""
        return Align.least

    @property
    def target_columns(self) -> list[str]:
        """See `Objective.target_columns`: none."""
        return []

    def read(self, table: pa.Table) -> np.ndarray:
        """See `Objective.read`."""
        return np.zeros(len(table), np.uint8)

    def known(self, targets: np.ndarray) -> np.ndarray:
        """See `Objective.known`."""
        return np.ones(len(targets), bool)

    def settle(self, targets: np.ndarray, training: np.ndarray) -> np.ndarray:
        """See `Objective.settle`."""
        return targets

    def loss(self, recipe: Recipe) -> LossFunction:
        """See `Objective.loss`."""
        return self._loss

    def validate(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
        """See `Objective.validate`; of more than `VALIDATED` rows, a sample."""
        chosen = logits[retrieval.sample(len(logits), VALIDATED)]
        scores = _means(self._directions(self.align.vectors(chosen)))
        parts = np.array_split(chosen, max(1, round(len(chosen) / _LOSS_ROWS)))
        losses = [float(self._loss(torch.from_numpy(part), torch.empty(0))) for part in parts]
        return {**scores, "loss": float(np.mean(losses))}

    def calibrate(self, module: Model, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """See `Objective.calibrate`: keeps references, and fits the temperature on other rows.

        The temperature is the one by which the misalignment best tells those rows' own pairs from
        pairs of two of them.
        """
        assert isinstance(module, AlignmentModel)
        z = torch.from_numpy(self.align.vectors(logits))
        z = z[torch.from_numpy(np.random.default_rng(0).permutation(len(z)))]
        # With a handful of rows there is nothing to hold apart.
        kept = min(REFERENCES, max(len(z) // 2, 1))
        module.references[:, :kept] = z[:kept].transpose(0, 1)
        rest = z[kept : kept + _CALIBRATED]
        pairs = torch.stack([rest, _shuffled(rest)])
        pairs = pairs[:, (is_there(pairs).sum(dim=2) >= 2).all(dim=0)]
        if not pairs.shape[1]:
            return {}
        truth = np.repeat([0, 1], pairs.shape[1])[:, None]

        def misalignment(temperature: float) -> np.ndarray:
            found = judge(pairs.flatten(0, 1), module.references, torch.tensor(temperature))[1]
            return sigmoid(-found.double().numpy())[:, None]

        def nll(temperature: float) -> float:
            return float(binary_nll(misalignment(temperature), truth))

        step = (HOTTEST / COLDEST) ** (1 / 16)
        coarse = min(np.geomspace(COLDEST, HOTTEST, 17), key=nll)
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

    def measure(
        self,
        targets: np.ndarray,
        scores: np.ndarray,
        thresholds: np.ndarray,
        present: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """See `Objective.measure`; of more than `retrieval.MOST` rows, a sample."""
        chosen = scores[retrieval.sample(len(scores), retrieval.MOST)]
        directions = self._directions(self.align.vectors(chosen))
        return {
            "rows": len(scores),
            **_means(directions),
            "mean_alignment": float(scores[:, ALIGNMENT].mean()),
            "mean_misalignment": float(scores[:, MISALIGNMENT].mean()),
            "per_direction": directions,
        }

    def row_losses(self, targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """See `Objective.row_losses`: -log(1 - misalignment)."""
        with np.errstate(divide="ignore"):
            return -np.log1p(-scores[:, MISALIGNMENT].astype(np.float64))

    def as_column(self, targets: np.ndarray) -> pa.Array:
        """See `Objective.as_column`: nulls."""
        return pa.nulls(len(targets), pa.string())

    def as_numbers(self, targets: Tensor) -> Tensor:
        """See `Objective.as_numbers`: there is nothing for least squares to learn."""
        raise NotImplementedError

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch: the mean over the pairs of modalities; 0 where no record has one."""
        width = self.align.hidden
        z = outputs[:, :BIAS].float().unflatten(1, (-1, width))
        there = is_there(z)
        losses = []
        for a, b in combinations(range(z.shape[1]), 2):
            both = there[:, a] & there[:, b]
            if both.any():
                logits = z[both, a] @ z[both, b].T
                is_siglip = self.align.align_loss == SIGLIP
                losses.append(siglip(logits + outputs[0, BIAS]) if is_siglip else infonce(logits))
        return torch.stack(losses).mean() if losses else 0 * outputs.sum()

    def _directions(self, z: np.ndarray) -> dict[str, dict[str, Any]]:
        """Recalls by direction, as `image to text`; without those that no record has."""
        names = self.align.modalities
        return dict(_found_directions(z, names))


def _found_directions(
    z: np.ndarray, names: list[str]
) -> Iterator[tuple[str, dict[str, float | int]]]:
    there = (z != 0).any(axis=2)
    for a, b in combinations(range(len(names)), 2):
        both = there[:, a] & there[:, b]
        if both.any():
            x, y = (_unit(z[both, number]) for number in (a, b))
            forth, back = retrieval.both_ways(x, y)
            yield f"{names[a]} to {names[b]}", retrieval.measure_direction(forth, y)
            yield f"{names[b]} to {names[a]}", retrieval.measure_direction(back, x)


def _unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _means(directions: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    return {
        name: float(np.mean([found[name] for found in directions.values()])) if directions else None
        for name in AlignObjective.metrics
    }


def _shuffled(z: Tensor) -> Tensor:
    """Records whose modalities are those of different records of z."""
    return torch.stack([z[:, m].roll(m, dims=0) for m in range(z.shape[1])], dim=1)
