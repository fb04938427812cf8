"""Test which models differ significantly: a paired, hierarchical bootstrap over one split.

Scores vary with the rows of the split and with the training seeds. Each resample draws the rows
with replacement, the same rows for every model (paired: Efron & Tibshirani 1993, An Introduction
to the Bootstrap; Berg-Kirkpatrick et al. 2012, An Empirical Investigation of Statistical
Significance in NLP), and draws the seeds of each model with replacement.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from training.metrics import Metric, RowMetric, SumMetric, Table

RESAMPLES = 10_000
"""Resamples for a metric that is a sum over rows."""
SLOW_RESAMPLES = 1_000
"""Resamples for any other metric; its p-values are at least 0.002."""
SIGNIFICANCE = 0.05

CHUNK_NUMBERS = 1 << 20
"""Row indices (rows × resamples) drawn at a time: 8 MB."""
_CACHED_NUMBERS = 1 << 25
"""Numbers of the cached metric tables: 256 MB of float64."""


@dataclass(frozen=True)
class Interval:
    """Percentile interval of the bootstrap."""

    low: float
    high: float


@dataclass(frozen=True)
class ModelComparison:
    """A model compared with the best model.

    Attributes:
        mean: the metric on all rows, mean over seeds.
        interval: 95 % interval of the mean, over rows and seeds.
        difference: mean − mean of the best model; 0 for the best model.
        p_value: two-sided p-value of the difference; 1 for the best model.
        corrected_p_value: `p_value` corrected for the number of comparisons (Holm).
        tied: the difference is not significant at 5 % after correction. False if the metric is
            undefined.
        is_best: this is the best model; of equal models, the first.
    """

    mean: float
    interval: Interval
    difference: float
    p_value: float
    corrected_p_value: float
    tied: bool
    is_best: bool


def compare_with_best(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> dict[str, ModelComparison]:
    """Compare each model with the model of the best mean.

    The best model is chosen on the same rows, so it looks better than it is: a model that is not
    tied may be as good on other data, the more so the smaller the difference. One seed says
    nothing about the variance of training. With few seeds s, the spread is underestimated by a
    factor of about √((s − 1) / s).

    Args:
        truth: shape (rows, ...).
        predictions: model name → shape (seeds, rows, ...), as the metric needs them. Models may
            have different numbers of seeds.
        metric: one of `statistics.METRICS`, or a `RowMetric`.
        resamples: None = `RESAMPLES`, or `SLOW_RESAMPLES` for a `RowMetric`.
        seed: seed of the resamples. The seeds drawn for a model depend on its name, not on the
            other models.

    Returns:
        Model name → comparison, in the order of `predictions`.

    Raises:
        ValueError: no rows, no models, or predictions of a wrong shape.
    """
    _check_shapes(truth, predictions)
    if resamples is None:
        resamples = RESAMPLES if isinstance(metric, SumMetric) else SLOW_RESAMPLES
    means = {
        name: float(np.mean([metric(truth, prediction) for prediction in seeds]))
        for name, seeds in predictions.items()
    }
    samples = resample(truth, predictions, metric, resamples=resamples, seed=seed)
    best = _best_model(means, metric)
    others = [name for name in predictions if name != best]
    p_values = {name: two_sided_p(_difference(samples[name], samples[best])) for name in others}
    corrected = dict(zip(others, holm(np.array([p_values[n] for n in others])), strict=True))
    return {
        name: ModelComparison(
            mean=means[name],
            interval=percentile_interval(samples[name]),
            difference=float(_difference(np.array(means[name]), np.array(means[best]))),
            p_value=p_values.get(name, 1.0),
            corrected_p_value=float(corrected.get(name, 1.0)),
            tied=name == best
            or bool(corrected[name] >= SIGNIFICANCE and not np.isnan(means[name])),
            is_best=name == best,
        )
        for name in predictions
    }


def _best_model(means: Mapping[str, float], metric: Metric) -> str:
    """Return the model with the best mean; of equal models, the first."""
    sign = 1 if metric.larger_is_better else -1
    # Rounded to 12 digits, so that rounding errors do not break ties.
    defined = {name: sign * float(f"{mean:.12g}") for name, mean in means.items() if mean == mean}
    return max(defined, key=defined.__getitem__) if defined else next(iter(means))


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a − b, with differences within rounding error set to 0 so that ties count as ties."""
    rounding = 1e-12 * np.maximum(np.abs(a), np.abs(b))
    difference = a - b
    return np.where(np.abs(difference) <= rounding, 0.0, difference)


def _check_shapes(truth: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    if not len(truth) or not predictions:
        raise ValueError("compare_with_best needs at least one row and one model")
    for name, seeds in predictions.items():
        if seeds.ndim < 2 or not len(seeds) or seeds.shape[1] != len(truth):
            raise ValueError(
                f"predictions must have shape (seeds, {len(truth)}, ...); "
                f"model {name!r} has shape {seeds.shape}"
            )


def resample(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute the metric of each model in each resample. Arguments as in `compare_with_best`.

    Rows are drawn for a chunk of resamples at a time, which bounds memory beyond the result.

    Returns:
        Model name → metric, shape (resamples,).
    """
    weights = {
        name: _seed_weights(name, len(seeds), resamples, seed)
        for name, seeds in predictions.items()
    }
    samples = {name: np.empty(resamples) for name in predictions}
    if isinstance(metric, SumMetric):
        measure: _Measure = _MeasureBySums(metric, truth, predictions)
    else:
        measure = _MeasureByRows(metric, truth, predictions)
    for chunk, rows in _draw_rows(len(truth), resamples, seed):
        for name, values in measure(rows):
            samples[name][chunk] = (weights[name][chunk] * values).sum(axis=1)
    return samples


_Measure: TypeAlias = Callable[[np.ndarray], Iterator[tuple[str, np.ndarray]]]
"""Drawn rows, shape (resamples, rows) → for each model its name and the metric of each resample
and seed, shape (resamples, seeds)."""


@dataclass(frozen=True)
class _MeasureByRows:
    metric: RowMetric
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]

    def __call__(self, drawn: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        for name, seeds in self.predictions.items():
            values = [
                [self.metric(self.truth[rows], prediction[rows]) for prediction in seeds]
                for rows in drawn
            ]
            yield name, np.array(values)


@dataclass
class _MeasureBySums:
    metric: SumMetric
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    free_numbers: int = _CACHED_NUMBERS
    """Space left in the cache. Tables that do not fit are recomputed for every chunk."""
    cache: dict[tuple[str, int], Table] = field(default_factory=dict)

    def __call__(self, drawn: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        counts = _count_rows(drawn)
        for name, seeds in self.predictions.items():
            sums = [self._table(name, index) @ counts for index in range(len(seeds))]
            yield name, np.stack([self.metric.value(s, len(self.truth)) for s in sums], axis=1)

    def _table(self, name: str, index: int) -> Table:
        if (name, index) in self.cache:
            return self.cache[name, index]
        table = self.metric.table(self.truth, self.predictions[name][index])
        if table.size <= self.free_numbers:
            self.cache[name, index] = table
            self.free_numbers -= table.size
        return table


def _seed_weights(name: str, seeds: int, resamples: int, seed: int) -> np.ndarray:
    """Draw the weight of each seed of a model in each resample, shape (resamples, seeds)."""
    random = np.random.default_rng([seed, 1, zlib.crc32(name.encode())])
    return random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


def _draw_rows(rows: int, resamples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the resamples and the rows drawn, shape (resamples in the slice, rows)."""
    random = np.random.default_rng([seed, 0])
    step = max(1, CHUNK_NUMBERS // rows)
    for start in range(0, resamples, step):
        chunk = slice(start, min(start + step, resamples))
        yield chunk, random.integers(rows, size=(chunk.stop - chunk.start, rows))


def _count_rows(drawn: np.ndarray) -> np.ndarray:
    """Count how often each resample draws each row, float64, shape (rows, resamples)."""
    resamples, rows = drawn.shape
    flat = (drawn * resamples + np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=rows * resamples)
    return counts.reshape(rows, resamples).astype(np.float64)


def percentile_interval(samples: np.ndarray, level: float = 1 - SIGNIFICANCE) -> Interval:
    """Return the percentile interval (Efron & Tibshirani 1993, ch. 13), ignoring NaN."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def two_sided_p(differences: np.ndarray) -> float:
    """Return the two-sided p-value of "no difference", ignoring NaN.

    It is twice the smaller share of resamples on one side of 0: the level at which the percentile
    interval just touches 0 (Efron & Tibshirani 1993, ch. 15 and 16). Resamples at 0 count for both
    sides. One is added to each side, so p is never 0 and equal models get 1.
    """
    defined = differences[~np.isnan(differences)]
    smaller = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (len(defined) + 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for their number, so that the chance of any false alarm stays bounded.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure: the smallest of n p-values
    is multiplied by n, the next by n − 1, and so on; none falls below the one before it.
    """
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected
