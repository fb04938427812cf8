"""Measure cross-modal interaction: compare a model with its nearest additive function (EMAP).

Hessel & Lee 2020, "Does my multimodal model learn cross-modal interactions? It's harder to tell
than you might think!", arXiv:2010.06572. For a model f of a text t and an image v, the projection
onto functions g(t) + h(v), under the product of the two marginal distributions, is

    EMAP(tᵢ, vᵢ) = mean_j f(tᵢ, vⱼ) + mean_j f(tⱼ, vᵢ) − mean_jk f(tⱼ, vₖ).

If the projection scores as well as f, the task does not reward the interaction that f uses.

For M > 2 modalities, the same derivation needs the mean over all combinations of M records, which
takes rows to the power of M. This module keeps the modalities other than m together, as they occur:

    gₘ(i) = mean_j f(xₘ of i, all others of j),   EMAP(i) = Σₘ gₘ(i) − (M − 1) · meanₘᵢ gₘ(i).

For M = 2 this equals the formula above. For M > 2 it is additive too, and equals f if f is
additive. If modalities depend on each other, it is close to the projection but not equal to it,
because the main effects are taken under that dependence.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.base import Model
from mmfeat.models.inference import run_model
from mmfeat.models.linear import LinearModel
from mmfeat.storage import files, read_intact_document
from training.compare.statistics import compare_with_best
from training.compare.trials import INTERACTION
from training.data import TEST, Dataset
from training.objectives.describe import DescribeObjective

Columns: TypeAlias = Mapping[str, np.ndarray]
Forward: TypeAlias = Callable[[Columns, Columns], np.ndarray]
"""(features, present), as for `mmfeat.models.inference.run_model` → logits, shape (rows, k)."""

PAIRS = 1 << 10
"""Most pairs of records in one forward pass: few enough for the caches."""
_BYTES = 1 << 26
"""Bytes of features in one forward pass, roughly."""


@dataclass(frozen=True)
class Projection:
    """The logits of a model and of its additive projection, float64, shape (rows, k) each."""

    full: np.ndarray
    additive: np.ndarray


def project(forward: Forward, features: Columns, present: Columns) -> Projection:
    """Project a model onto additive functions of its modalities.

    Presence moves with its modality: in every combination, a modality is present if its own record
    has it. A combination may therefore have no modality at all; the model is called all the same.

    Calls the model on rows² pairs for two modalities and M · rows² for M > 2. A model of one
    modality is additive and equals its projection.

    Args:
        forward: the model.
        features: column → shape (rows, ...). Each column is one modality.
        present: column → bool, shape (rows, ...).
    """
    if not len(next(iter(present.values()))):
        raise ValueError("EMAP needs at least one row")
    full = np.asarray(forward(features, present), np.float64)
    if len(features) == 1:
        return Projection(full, full.copy())
    effects = _main_effects(forward, features, present, full.shape)
    additive = sum(effects) - (len(effects) - 1) * np.mean(effects, axis=(0, 1))
    return Projection(full, additive)


def _main_effects(
    forward: Forward, features: Columns, present: Columns, shape: tuple[int, ...]
) -> list[np.ndarray]:
    """Compute gₘ of each modality (see the module docstring), shape (rows, k) each."""
    first, *others = features
    if len(features) == 2:  # The pairs of one modality are those of the other.
        effects = [np.zeros(shape), np.zeros(shape)]
        for i, j, logits in _forward_pairs(forward, features, present, first):
            np.add.at(effects[0], i, logits)
            np.add.at(effects[1], j, logits)
    else:
        effects = []
        for column in (first, *others):
            effects.append(np.zeros(shape))
            for i, _, logits in _forward_pairs(forward, features, present, column):
                np.add.at(effects[-1], i, logits)
    return [effect / shape[0] for effect in effects]


def _forward_pairs(
    forward: Forward, features: Columns, present: Columns, column: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield all pairs (i, j) in batches: i, j, and the logits of `column` of i, the rest of j."""
    rows = len(present[column])
    record_bytes = sum(values[:1].nbytes for values in features.values())
    step = max(1, min(PAIRS, _BYTES // max(record_bytes, 1)))
    for start in range(0, rows * rows, step):
        i, j = np.divmod(np.arange(start, min(start + step, rows * rows)), rows)
        logits = forward(
            {name: features[name][i if name == column else j] for name in features},
            {name: present[name][i if name == column else j] for name in features},
        )
        yield i, j, np.asarray(logits, np.float64)


def project_model(model: Model, features: Columns, present: Columns) -> Projection:
    """Project a model in eval mode. The layers that read one column run once per record.

    Args:
        model: the model.
        features, present: as for `project`.
    """
    if isinstance(model, LinearModel):
        logits = run_model(model, features, present).logits.astype(np.float64)
        return Projection(logits, logits)

    def forward(encoded: Columns, present: Columns) -> np.ndarray:
        with torch.inference_mode():
            return model.forward_encoded(_tensors(encoded), _tensors(present))[0].numpy()

    with torch.inference_mode():
        encoded = model.encode(_tensors(features), _tensors(present))
    return project(forward, {name: x.numpy() for name, x in encoded.items()}, present)


def _tensors(columns: Columns) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(values if values.dtype == bool else values.astype(np.float32))
        for name, values in columns.items()
    }


@dataclass(frozen=True)
class EmapScore:
    """The scores of a model and of its additive projection on the same test rows.

    Attributes:
        rows: number of rows; 0 if the outputs of a model cannot be added.
        full: metric of the model; None if undefined on these rows.
        emap: metric of the projection; None if undefined on these rows.
        used: whether the model is significantly better than its projection.
    """

    rows: int
    full: float | None
    emap: float | None
    used: bool


def score_projection(model: Model, dataset: Dataset, metric: str, max_rows: int) -> EmapScore:
    """Score a model and its additive projection on a sample of the test rows.

    Args:
        model: the model.
        dataset: a dataset with the columns of the model.
        metric: name of the metric.
        max_rows: number of test rows to sample.
    """
    objective, test = dataset.objective, dataset.split_rows[TEST]
    if isinstance(objective, DescribeObjective):  # a sum of texts is no text
        return EmapScore(rows=0, full=None, emap=None, used=False)
    rows = np.sort(np.random.default_rng(0).permutation(test)[:max_rows])
    features, present = dataset.features.take(rows)
    projection = project_model(model, features, present)
    truth = objective.comparison_targets(dataset.targets[rows])
    predictions = {
        name: objective.predict(logits.astype(np.float32))[None]
        for name, logits in (("full", projection.full), ("emap", projection.additive))
    }
    measure = objective.comparison_metric(metric)
    comparisons = compare_with_best(truth, predictions, measure)
    full, additive = (comparisons[name] for name in ("full", "emap"))
    return EmapScore(
        rows=len(rows),
        full=None if np.isnan(full.mean) else full.mean,
        emap=None if np.isnan(additive.mean) else additive.mean,
        used=not additive.is_best and not additive.tied,
    )


def write_emap_score(folder: str, score: EmapScore) -> None:
    """Write the score of a model. It is the last file of a model's trials."""
    files.write_json(files.join(folder, INTERACTION), asdict(score))


def remove_emap_score(folder: str) -> None:
    """Remove the score of a model of which a trial is trained again."""
    files.remove(files.join(folder, INTERACTION))


def read_emap_score(folder: str) -> EmapScore | None:
    """Read the score of a model; None if its trials are not finished."""
    return read_intact_document(files.join(folder, INTERACTION), EmapScore)
