"""Compute the metric of each model on resamples of the rows, the same rows for every model.

Paired bootstrap: Efron & Tibshirani 1993, An Introduction to the Bootstrap; Berg-Kirkpatrick et
al. 2012, An Empirical Investigation of Statistical Significance in NLP.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from training.metrics import Metric, PreparedMetric

CHUNK_NUMBERS = 1 << 16
"""Row counts (rows × resamples) in memory at a time: 0.5 MB of float64, which a cache holds."""
_CACHED_NUMBERS = 1 << 25
"""Numbers of the cached prepared metrics: 256 MB of float64."""


def resample_metric(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute the metric of each model and seed in each resample.

    Rows are drawn for a chunk of resamples at a time, which bounds memory beyond the result.

    Args:
        truth: shape (rows, ...).
        predictions: model name → shape (seeds, rows, ...).
        metric: the metric.
        resamples: number of resamples.
        seed: seed of the rows drawn. They do not depend on the models.

    Returns:
        Model name → metric, shape (resamples, seeds).
    """
    samples = {name: np.empty((resamples, len(seeds))) for name, seeds in predictions.items()}
    prepared = _PreparedMetrics(metric, truth, predictions)
    for chunk, counts in _count_rows(len(truth), resamples, seed):
        for name, values in samples.items():
            for index in range(values.shape[1]):
                values[chunk, index] = prepared.get(name, index).measure(counts)
    return samples


@dataclass
class _PreparedMetrics:
    metric: Metric
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    free_numbers: int = _CACHED_NUMBERS
    """Space left in the cache. Metrics that do not fit are prepared again for every chunk."""
    cache: dict[tuple[str, int], PreparedMetric] = field(default_factory=dict)

    def get(self, name: str, index: int) -> PreparedMetric:
        """Return the prepared metric of one seed of a model."""
        if (name, index) in self.cache:
            return self.cache[name, index]
        prepared = self.metric.prepare(self.truth, self.predictions[name][index])
        if prepared.numbers <= self.free_numbers:
            self.cache[name, index] = prepared
            self.free_numbers -= prepared.numbers
        return prepared


def _count_rows(rows: int, resamples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Draw rows with replacement.

    Yields:
        A slice of the resamples, and how often each of them draws each row: float64, shape (rows,
        resamples in the slice).
    """
    random = np.random.default_rng([seed, 0])
    step = max(1, CHUNK_NUMBERS // rows)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.integers(rows, size=(count, rows)) * count + np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * count)
        yield slice(start, start + count), counts.reshape(rows, count).astype(np.float64)
