"""Compare models by a metric on one split: intervals, and ties with the best model."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.compare.statistics.bootstrap import resample_metric
from training.compare.statistics.confidence_set import Means, difference, set_p_values
from training.compare.statistics.variance import LEVEL, Interval, MeanVariance
from training.metrics import Metric

RESAMPLES = 2_000
"""Resamples of the rows. The standard errors that they give are exact to 2 %."""


@dataclass(frozen=True)
class ModelComparison:
    """A model compared with the best model.

    Attributes:
        values: the metric of each seed on all rows, shape (seeds,).
        mean: their mean.
        interval: 95 % interval of the mean, over rows, and over seeds if there are several.
        difference: mean − mean of the best model; 0 for the best model.
        p_value: p-value of "may be the best model", corrected for the number of models; 1 for the
            best model.
        tied: `p_value` is at least 5 %. False if the metric is undefined.
        is_best: this is the best model; of equal models, the first.
    """

    values: np.ndarray
    mean: float
    interval: Interval
    difference: float
    p_value: float
    tied: bool
    is_best: bool


def compare_with_best(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    metric: Metric,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, ModelComparison]:
    """Compare each model with the model of the best mean.

    The tied models contain the truly best one with a probability of 95 % (`confidence_set.py`).
    One seed says nothing about the variance of training: such a model is compared as it was
    trained, not as it would be trained again.

    Args:
        truth: shape (rows, ...).
        predictions: model name → shape (seeds, rows, ...), as the metric needs them. Models may
            have different numbers of seeds.
        metric: the metric.
        resamples: number of resamples of the rows.
        seed: seed of the resamples.

    Returns:
        Model name → comparison, in the order of `predictions`.

    Raises:
        ValueError: no rows, no models, or predictions of a wrong shape.
    """
    _check_shapes(truth, predictions)
    rows = len(truth)
    values = {
        name: np.array([metric(truth, prediction) for prediction in seeds])
        for name, seeds in predictions.items()
    }
    samples = resample_metric(truth, predictions, metric, resamples=resamples, seed=seed)
    samples = _drop_undefined(values, samples)
    variances = {n: MeanVariance.estimate(values[n], samples[n], rows) for n in samples}
    means = {name: float(of_seeds.mean()) for name, of_seeds in values.items()}
    p_values = _p_values(means, samples, variances, metric, rows, seed)
    best = _best_model(means, metric)
    return {
        name: ModelComparison(
            values=values[name],
            mean=mean,
            interval=(
                variances[name].interval(mean, metric.bounds, is_fraction=metric.is_fraction)
                if name in variances
                else Interval(np.nan, np.nan)
            ),
            difference=float(difference(np.array(mean), np.array(means[best]))),
            p_value=p_values.get(name, 1.0),
            tied=name == best or (name in samples and p_values[name] >= 1 - LEVEL),
            is_best=name == best,
        )
        for name, mean in means.items()
    }


def _drop_undefined(
    values: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Drop the models without a metric, then the resamples in which another has none."""
    defined = [name for name in samples if not np.isnan(values[name]).any()]
    if not defined:
        return {}
    usable = ~np.isnan(np.hstack([samples[name] for name in defined])).any(axis=1)
    return {name: samples[name][usable] for name in defined} if usable.any() else {}


def _p_values(
    means: Mapping[str, float],
    samples: Mapping[str, np.ndarray],
    variances: Mapping[str, MeanVariance],
    metric: Metric,
    rows: int,
    seed: int,
) -> dict[str, float]:
    if not samples:
        return {}
    sign = 1 if metric.larger_is_better else -1
    of_rows = np.stack([sign * of_seeds.mean(axis=1) for of_seeds in samples.values()])
    unbiased = np.sqrt(rows / max(rows - 1, 1))
    drawn = [
        variances[name].draw_seeds(
            # The seeds drawn for a model depend on its name, not on the other models.
            np.random.default_rng([seed, 1, zlib.crc32(name.encode())]),
            of_rows.shape[1],
        )
        for name in samples
    ]
    p_values = set_p_values(
        Means(
            values=np.array([sign * means[name] for name in samples]),
            row_deviations=unbiased * (of_rows - of_rows.mean(axis=1, keepdims=True)),
            seed_variances=np.array([variances[name].seeds for name in samples]),
            drawn_deviations=np.stack([deviations for deviations, _ in drawn]),
            drawn_variances=np.stack([of_seeds for _, of_seeds in drawn]),
        )
    )
    # No test of n paired rows gives less than the sign test.
    smallest = 2.0 ** (1 - rows)
    return {name: max(float(p), smallest) for name, p in zip(samples, p_values, strict=True)}


def _best_model(means: Mapping[str, float], metric: Metric) -> str:
    """Return the model with the best mean; of equal models, the first."""
    sign = 1 if metric.larger_is_better else -1
    # Rounded to 12 digits, so that rounding errors do not break ties.
    defined = {name: sign * float(f"{mean:.12g}") for name, mean in means.items() if mean == mean}
    return max(defined, key=defined.__getitem__) if defined else next(iter(means))


def _check_shapes(truth: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    if not len(truth) or not predictions:
        raise ValueError("compare_with_best needs at least one row and one model")
    for name, seeds in predictions.items():
        if seeds.ndim < 2 or not len(seeds) or seeds.shape[1] != len(truth):
            raise ValueError(
                f"predictions must have shape (seeds, {len(truth)}, ...); "
                f"model {name!r} has shape {seeds.shape}"
            )
