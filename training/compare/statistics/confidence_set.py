"""Find the models that may be the best one: a model confidence set.

Hansen, Lunde & Nason 2011, The Model Confidence Set, Econometrica 79 (2). All pairs of models are
compared by the difference of their means, divided by its standard error. If the largest of these
ratios is larger than chance allows for the largest of so many, the worse model of that pair leaves
the set, and the rest are compared again. The truly best model leaves with a probability of at
most 5 %, however many models there are, and although the best mean is chosen on the same rows.

The distribution of the largest ratio comes from the resamples (max-T of Westfall & Young 1993,
Resampling-Based Multiple Testing), so the smallest p-value is 1 / (resamples + 1) for any number
of models. The seeds, too few to resample, are drawn from a normal distribution, and their variance
from a χ² distribution (Krishnamoorthy, Lu & Mathew 2007, A parametric bootstrap approach for ANOVA
with unequal variances).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Means:
    """The means of all models; larger is better.

    Attributes:
        values: shape (models,).
        row_deviations: of the means on resampled rows, shape (models, resamples).
        seed_variances: variance of the mean over seeds, shape (models,).
        drawn_deviations, drawn_variances: see `MeanVariance.draw_seeds`; shape (models, resamples).
    """

    values: np.ndarray
    row_deviations: np.ndarray
    seed_variances: np.ndarray
    drawn_deviations: np.ndarray
    drawn_variances: np.ndarray

    def row_variances(self) -> np.ndarray:
        """Return the variance over rows of the difference of two models, shape (models, models)."""
        return np.stack([(row - self.row_deviations).var(axis=1) for row in self.row_deviations])

    def ratios(self, row_variances: np.ndarray) -> np.ndarray:
        """Divide the difference of each pair by its standard error, shape (models, models)."""
        errors = np.sqrt(row_variances + self.seed_variances[:, None] + self.seed_variances)
        differences = difference(self.values[:, None], self.values)
        # Without an error, a difference is infinitely larger.
        no_error = np.where(differences == 0, 0.0, np.copysign(np.inf, differences))
        return np.divide(differences, errors, out=no_error, where=errors > 0)

    def chance(self, model: int, others: np.ndarray, row_variances: np.ndarray) -> np.ndarray:
        """Return the largest ratio of a model and others by chance alone, shape (resamples,).

        Args:
            model: number of the model.
            others: numbers of the others.
            row_variances: of the difference to the others, shape (others,).
        """
        deviations = self.row_deviations + self.drawn_deviations
        drawn = np.abs(deviations[model] - deviations[others])
        variances = self.drawn_variances[model] + self.drawn_variances[others]
        errors = np.sqrt(row_variances[:, None] + variances)
        return np.divide(drawn, errors, out=np.zeros_like(drawn), where=errors > 0).max(axis=0)


def set_p_values(means: Means) -> np.ndarray:
    """Return the p-value of each model, corrected for the number of models; 1 for the best mean.

    Models with a p-value of at least 0.05 form the 95 % confidence set.
    """
    models, resamples = means.row_deviations.shape
    row_variances = means.row_variances()
    ratios = means.ratios(row_variances)
    order = _elimination_order(ratios)
    p_values = np.ones(models)
    largest, chance = 0.0, np.zeros(resamples)
    # From the smallest set to the set of all models: the maximum grows with each model.
    for position in range(models - 2, -1, -1):
        model, better = order[position], order[position + 1 :]
        largest = max(largest, float(np.abs(ratios[model, better]).max()))
        chance = np.maximum(chance, means.chance(model, better, row_variances[model, better]))
        p_values[model] = (1 + (chance >= largest).sum()) / (1 + resamples)
    # A model is in the set of every level at which an earlier set was not rejected.
    p_values[order] = np.maximum.accumulate(p_values[order])
    return p_values


def _elimination_order(ratios: np.ndarray) -> np.ndarray:
    """Return the models, the first to leave first: the one farthest behind any other model."""
    remaining = list(range(len(ratios)))
    order = []
    while remaining:
        behind = ratios[np.ix_(remaining, remaining)].min(axis=1)
        # Of equal models, the last leaves first.
        worst = len(remaining) - 1 - int(behind[::-1].argmin())
        order.append(remaining.pop(worst))
    return np.array(order)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a − b, with differences within rounding error set to 0 so that ties count as ties."""
    rounding = 1e-12 * np.maximum(np.abs(a), np.abs(b))
    exact = a - b
    return np.where(np.abs(exact) <= rounding, 0.0, exact)
