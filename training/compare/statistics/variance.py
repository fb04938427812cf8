"""The variance of a model's mean metric over seeds, and its interval.

A metric varies with the rows of the split (r), with the training seed (s), and with both together
(e). Over n rows and K seeds, the mean has the variance σ²ᵣ/n + σ²ₛ/K + σ²ₑ/(nK), as in a two-way
random-effects analysis of variance. The bootstrap over rows estimates σ²ᵣ/n + σ²ₑ/(nK); the
variance between seeds, divided by K, estimates σ²ₛ/K + σ²ₑ/(nK). Their sum has the last term twice.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

LEVEL = 0.95

_ROUNDING = 1e-24
"""A smaller variance is one of rounding errors."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class MeanVariance:
    """The variance of the mean of one model.

    Attributes:
        rows: over rows.
        seeds: over seeds, without the part that `rows` includes; 0 for one seed.
        shared: the part of the variance between seeds that `rows` includes.
        row_freedom, seed_freedom: degrees of freedom of `rows` and `seeds`.
    """

    rows: float
    seeds: float
    shared: float
    row_freedom: int
    seed_freedom: int

    @classmethod
    def estimate(cls, values: np.ndarray, samples: np.ndarray, rows: int) -> Self:
        """Estimate the variance.

        Args:
            values: the metric of each seed on all rows, shape (seeds,).
            samples: the metric on resampled rows, shape (resamples, seeds).
            rows: number of rows.
        """
        seeds = len(values)
        unbiased = rows / max(rows - 1, 1)
        of_rows = float(samples.mean(axis=1).var()) * unbiased
        if seeds == 1:
            return cls(of_rows, 0.0, 0.0, max(rows - 1, 1), 0)
        of_one_seed = float(samples.var(axis=0).mean()) * unbiased
        # σ²ₑ/(nK): the variance over rows falls by (K − 1) times this if K seeds are averaged.
        shared = max(of_one_seed - of_rows, 0.0) / (seeds - 1)
        between = float(values.var(ddof=1)) / seeds
        return cls(of_rows, max(between - shared, 0.0), shared, max(rows - 1, 1), seeds - 1)

    def interval(
        self, mean: float, bounds: tuple[float, float], *, is_fraction: bool = False
    ) -> Interval:
        """Return the 95 % interval of the mean, over rows, and over seeds if there are several.

        Each part of the variance is multiplied by the square of its own t quantile, so that few
        seeds cannot make the interval too narrow (Banerjee 1960, On Confidence Interval for
        Two-Means Problem Based on Separate Estimates of Variances).

        Fractions get `_add_rows`, so that the interval has a width if all rows are right. So do
        other metrics from 0 to 1 that are the same in all resamples.

        Args:
            mean: the mean metric.
            bounds: the possible values of the metric.
            is_fraction: whether the metric is the mean over rows of values from 0 to 1.
        """
        factor = _t_quantile(self.row_freedom) ** 2
        center, of_rows = mean, self.rows
        if is_fraction or (bounds == (0.0, 1.0) and self.rows < _ROUNDING):
            center, of_rows = _add_rows(mean, self.rows, self.row_freedom + 1, factor)
        square = of_rows * factor
        if self.seed_freedom:
            square += self.seeds * _t_quantile(self.seed_freedom) ** 2
        half = float(np.sqrt(square))
        return Interval(max(center - half, bounds[0]), min(center + half, bounds[1]))

    def draw_seeds(
        self, random: np.random.Generator, resamples: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the deviation of a mean over K seeds, and the estimate of its variance over seeds.

        Returns:
            Deviations and variances, shape (resamples,) each; 0 for one seed.
        """
        if not self.seed_freedom:
            return np.zeros(resamples), np.zeros(resamples)
        deviations = random.normal(0, np.sqrt(self.seeds), resamples)
        between = random.chisquare(self.seed_freedom, resamples) / self.seed_freedom
        variances = (self.seeds + self.shared) * between - self.shared
        return deviations, np.maximum(variances, 0.0)


def _add_rows(mean: float, variance: float, rows: int, added: float) -> tuple[float, float]:
    """Return the mean of a fraction, and its variance over rows, with some rows added.

    Half of them are right and half are wrong. For one seed, this is the interval of Agresti and
    Coull 1998, Approximate Is Better than "Exact" for Interval Estimation of Binomial Proportions,
    which adds as many rows as the square of the quantile.

    Args:
        mean: the fraction.
        variance: of the fraction, over rows.
        rows: number of rows.
        added: number of rows to add.
    """
    total = rows + added
    center = (rows * mean + added / 2) / total
    of_rows = rows * (rows * variance + (mean - center) ** 2)
    of_added = added / 2 * ((1 - center) ** 2 + center**2)
    return center, (of_rows + of_added) / total**2


def _t_quantile(freedom: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))
