"""What a model owes to interaction between modalities: its nearest additive function (EMAP).

Hessel & Lee 2020, "Does my multimodal model learn cross-modal interactions? It's harder to tell
than you might think!", arXiv:2010.06572. Of a model f of a text t and a picture v, the projection
onto functions g(t) + h(v) under the product of the two marginals is

    EMAP(tᵢ, vᵢ) = mean_j f(tᵢ, vⱼ) + mean_j f(tⱼ, vᵢ) − mean_jk f(tⱼ, vₖ).

Where it predicts as well as f, no interaction was used that the task rewards.

Of M > 2 modalities the same derivation asks for the mean over all combinations of M records, rows
to the power of M. Instead the others of a modality m stay together, as they occur:

    gₘ(i) = mean_j f(xₘ of i, all others of j),   EMAP(i) = Σₘ gₘ(i) − (M − 1) · meanₘᵢ gₘ(i).

For M = 2 this is the formula above. For M > 2 it is additive too, and equal to f where f is
additive; where modalities depend on one another, its main effects are taken under that dependence
and not under independence, so it is near the projection and not the projection itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Columns: TypeAlias = Mapping[str, np.ndarray]
Forward: TypeAlias = Callable[[Columns, Columns], np.ndarray]
"""(features, present), as `mmfeat.models.inference.run` takes them → logits, shape (rows, k)."""

MOST_ROWS = 500
"""Rows above which a sample of so many is taken: the cost grows with their square."""
_PAIRS = 1 << 13  # pairs in one call of the model …
_BYTES = 1 << 26  # … and bytes of their features, roughly


@dataclass(frozen=True)
class Emap:
    """A model's logits and those of its additive projection.

    Attributes:
        rows: the rows that were looked at, in rising order.
        full: logits of the model, float64, shape (len(rows), k).
        additive: logits of the projection, the same shape. The means are over these rows alone.
    """

    rows: np.ndarray
    full: np.ndarray
    additive: np.ndarray


def emap(
    forward: Forward,
    features: Columns,
    present: Columns,
    *,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
) -> Emap:
    """Project a model onto additive functions of its modalities.

    A record that lacks a modality lacks it in all its combinations: presence travels with the
    modality. A combination may so have no modality at all; the model is asked all the same.

    Takes rows² forwards for two modalities, and M · rows² for M > 2. One modality alone is
    additive: the projection is the model.

    Args:
        forward: the model, as `lambda f, p: run(model, f, p)[0]`.
        features: column → shape (rows, ...); the columns are the modalities.
        present: column → bool, shape (rows, ...).
        most_rows: above so many rows, a sample of them is taken.
        seed: fixes the sample.
    """
    rows = _sample(len(next(iter(present.values()))), most_rows, seed)
    features = {column: features[column][rows] for column in features}
    present = {column: present[column][rows] for column in features}
    full = np.asarray(forward(features, present), np.float64)
    if len(features) == 1:
        return Emap(rows, full, full.copy())
    effects = _main_effects(forward, features, present, full.shape)
    additive = sum(effects) - (len(effects) - 1) * np.mean(effects, axis=(0, 1))
    return Emap(rows, full, additive)


def shuffled(
    features: Columns, present: Columns, column: str, *, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Features and presence with one modality dealt out anew among the records."""
    order = np.random.default_rng(seed).permutation(len(present[column]))
    return (
        {name: values[order] if name == column else values for name, values in features.items()},
        {name: values[order] if name == column else values for name, values in present.items()},
    )


def _sample(rows: int, most: int, seed: int) -> np.ndarray:
    if not rows or most < 1:
        raise ValueError("emap needs at least one row")
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _main_effects(
    forward: Forward, features: Columns, present: Columns, shape: tuple[int, ...]
) -> list[np.ndarray]:
    """Of each modality the gₘ of the head of this file, shape (rows, k)."""
    first, *others = features
    if len(features) == 2:  # the pairs of the one modality are those of the other
        effects = [np.zeros(shape), np.zeros(shape)]
        for at, among, logits in _pairs(forward, features, present, first):
            np.add.at(effects[0], at, logits)
            np.add.at(effects[1], among, logits)
    else:
        effects = []
        for column in (first, *others):
            effects.append(np.zeros(shape))
            for at, _, logits in _pairs(forward, features, present, column):
                np.add.at(effects[-1], at, logits)
    return [effect / shape[0] for effect in effects]


def _pairs(
    forward: Forward, features: Columns, present: Columns, column: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs (i, j), some at a time: i, j, and the logits of the column of i, the rest of j."""
    rows = len(present[column])
    record = sum(values[:1].nbytes for values in features.values())
    step = max(1, min(_PAIRS, _BYTES // max(record, 1)))
    for start in range(0, rows * rows, step):
        at, among = np.divmod(np.arange(start, min(start + step, rows * rows)), rows)
        logits = forward(
            {name: features[name][at if name == column else among] for name in features},
            {name: present[name][at if name == column else among] for name in features},
        )
        yield at, among, np.asarray(logits, np.float64)
