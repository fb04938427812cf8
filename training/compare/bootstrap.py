"""Which systems differ by more than luck: a paired, hierarchical bootstrap over one test split.

Luck has two sources: which rows the test split happens to have, and the seeds of training. Each
resample draws the rows again, the same rows for every system (paired: Efron & Tibshirani 1993, An
Introduction to the Bootstrap; Berg-Kirkpatrick et al. 2012, An Empirical Investigation of
Statistical Significance in NLP), and each system's seeds again.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from training.evaluation.statistics import Metric, RowMetric, SumMetric, Table

RESAMPLES = 10_000
"""Resamples of a metric that is a sum over rows."""
SLOW_RESAMPLES = 1_000
"""Resamples of any other metric; p-values then go no lower than 0.002."""
SIGNIFICANCE = 0.05
_CHUNK_NUMBERS = 1 << 20  # rows × resamples that are drawn at a time: 8 MB of float64
_KEPT_NUMBERS = 1 << 25  # 256 MB of float64


@dataclass(frozen=True)
class Interval:
    """Percentile interval of the bootstrap."""

    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """Where a system stands among others.

    Attributes:
        mean: the metric on the rows as they are, mean over seeds.
        interval: of the mean, over rows and seeds, 95 %.
        difference: mean − mean of the best system; 0 for the best itself.
        difference_interval: of the difference, 95 %, paired.
        p: two-sided p-value of the difference; 1 for the best.
        p_holm: the same, corrected for the number of comparisons.
        tied: not significantly different from the best at 5 % after the correction; false where
            the metric is not defined.
        best: whether this is the best; of equals the first.
    """

    mean: float
    interval: Interval
    difference: float
    difference_interval: Interval
    p: float
    p_holm: float
    tied: bool
    best: bool


def compare(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> dict[str, Standing]:
    """Compare systems with the best of them.

    The best is the one of the best mean on these same rows. Being chosen so, it looks better than
    it is: a system that is not tied may still be as good on other data, more often the closer it
    is. One seed alone says nothing of the luck of training; of few seeds, s, the spread comes out
    too small, by a factor of about √((s − 1) / s).

    Args:
        truth: shape (rows, ...).
        predictions: system → shape (seeds, rows, ...), whatever the metric takes per row; systems
            may differ in the number of seeds.
        metric: of `statistics.METRICS`, or a `RowMetric`.
        resamples: None = `RESAMPLES`, or `SLOW_RESAMPLES` of a `RowMetric`.
        seed: fixes the resamples. Those of a system depend on its name and on no other system.

    Returns:
        system → standing, in the order of `predictions`.
    """
    _check(truth, predictions)
    if resamples is None:
        resamples = RESAMPLES if isinstance(metric, SumMetric) else SLOW_RESAMPLES
    means = {
        name: float(np.mean([metric(truth, one) for one in seeds]))
        for name, seeds in predictions.items()
    }
    drawn = resample(truth, predictions, metric, resamples=resamples, seed=seed)
    best = _best(means, metric)
    differences = {name: _difference(drawn[name], drawn[best]) for name in predictions}
    others = [name for name in predictions if name != best]
    p = {name: two_sided_p(differences[name]) for name in others}
    corrected = dict(zip(others, holm(np.array([p[name] for name in others])), strict=True))
    return {
        name: Standing(
            mean=means[name],
            interval=percentile_interval(drawn[name]),
            difference=float(_difference(np.array(means[name]), np.array(means[best]))),
            difference_interval=percentile_interval(differences[name]),
            p=p.get(name, 1.0),
            p_holm=float(corrected.get(name, 1.0)),
            tied=name == best
            or bool(corrected[name] >= SIGNIFICANCE and not np.isnan(means[name])),
            best=name == best,
        )
        for name in predictions
    }


def _best(means: Mapping[str, float], metric: Metric) -> str:
    """The system of the best mean, of equals the first."""
    sign = 1 if metric.larger_is_better else -1
    known = {name: sign * float(f"{mean:.12g}") for name, mean in means.items() if mean == mean}
    return max(known, key=known.__getitem__) if known else next(iter(means))


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one − other, and 0 where they differ by no more than rounding: ties must be seen as such."""
    rounding = 1e-12 * np.maximum(np.abs(one), np.abs(other))
    difference = one - other
    return np.where(np.abs(difference) <= rounding, 0.0, difference)


def _check(truth: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    if not len(truth) or not predictions:
        raise ValueError("compare needs at least one row and one system")
    for name, seeds in predictions.items():
        if seeds.ndim < 2 or not len(seeds) or seeds.shape[1] != len(truth):
            raise ValueError(
                f"predictions must have the shape (seeds, {len(truth)}, ...);"
                f" those of {name} have {seeds.shape}"
            )


def resample(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The metric of each system in each resample, shape (resamples,); arguments as `compare`.

    Memory beyond the result is bounded: rows are drawn for some resamples at a time.
    """
    weights = {
        name: _seed_weights(name, len(seeds), resamples, seed)
        for name, seeds in predictions.items()
    }
    drawn = {name: np.empty(resamples) for name in predictions}
    if isinstance(metric, SumMetric):
        measured: _Measure = _BySums(metric, truth, predictions)
    else:
        measured = _RowByRow(metric, truth, predictions)
    for part, rows in _drawn_rows(len(truth), resamples, seed):
        for name, values in measured(rows):
            drawn[name][part] = (weights[name][part] * values).sum(axis=1)
    return drawn


_Measure: TypeAlias = Callable[[np.ndarray], Iterator[tuple[str, np.ndarray]]]
"""Rows drawn, shape (resamples, rows) → of each system its name and the metric of each resample
and seed, shape (resamples, seeds)."""


@dataclass(frozen=True)
class _RowByRow:
    metric: RowMetric
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]

    def __call__(self, drawn: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        for name, seeds in self.predictions.items():
            values = [[self.metric(self.truth[rows], one[rows]) for one in seeds] for rows in drawn]
            yield name, np.array(values)


@dataclass
class _BySums:
    metric: SumMetric
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    room: int = _KEPT_NUMBERS
    """Numbers of tables that may still be kept; the other tables are made again and again."""
    kept: dict[tuple[str, int], Table] = field(default_factory=dict)

    def __call__(self, drawn: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        counts = _counts(drawn)
        for name, seeds in self.predictions.items():
            sums = [self._table(name, number) @ counts for number in range(len(seeds))]
            yield name, np.stack([self.metric.value(one, len(self.truth)) for one in sums], axis=1)

    def _table(self, name: str, number: int) -> Table:
        if (name, number) in self.kept:
            return self.kept[name, number]
        table = self.metric.table(self.truth, self.predictions[name][number])
        if table.size <= self.room:
            self.kept[name, number] = table
            self.room -= table.size
        return table


def _seed_weights(name: str, seeds: int, resamples: int, seed: int) -> np.ndarray:
    """Part each seed has in each resample of its system, shape (resamples, seeds)."""
    random = np.random.default_rng([seed, 1, zlib.crc32(name.encode())])
    return random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


def _drawn_rows(rows: int, resamples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the resamples with the rows each draws, shape (resamples of the slice, rows)."""
    random = np.random.default_rng([seed, 0])
    step = max(1, _CHUNK_NUMBERS // rows)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        yield part, random.integers(rows, size=(part.stop - part.start, rows))


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each row was drawn in each resample, float64, shape (rows, resamples)."""
    resamples, rows = drawn.shape
    flat = (drawn * resamples + np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=rows * resamples)
    return counts.reshape(rows, resamples).astype(np.float64)


def percentile_interval(drawn: np.ndarray, level: float = 1 - SIGNIFICANCE) -> Interval:
    """The percentile interval (Efron & Tibshirani 1993, ch. 13); resamples of NaN are left out."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def two_sided_p(differences: np.ndarray) -> float:
    """Two-sided p-value of no difference: twice the smaller part of the resamples on one side of 0.

    It is the level at which the percentile interval just touches 0 (Efron & Tibshirani 1993,
    ch. 15 and 16). Resamples at 0 count for both sides, and one is added to each side, so that no
    number of resamples gives 0 and equal systems get 1. Resamples of NaN are left out.
    """
    known = differences[~np.isnan(differences)]
    smaller = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (smaller + 1) / (len(known) + 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for their number so that the chance of any false alarm stays bounded.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure: the smallest of n is
    multiplied by n, the next by n − 1, …, none falls below one before it.
    """
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected
