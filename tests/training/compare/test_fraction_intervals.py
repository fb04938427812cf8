"""Intervals of accuracies near 1, where resampled rows are all right: a simulation."""

import numpy as np
import pytest

from training.compare.statistics import compare_with_best
from training.compare.statistics.variance import MeanVariance
from training.metrics import METRICS

INFINITE = (-np.inf, np.inf)
RESAMPLES = 100


def covered(accuracy, rows, seeds, repeats=1000):
    """Return how often the 95 % interval contains the accuracy: before, and now.

    Rows differ: each is right with a probability of its own, from a beta distribution.
    """
    random = np.random.default_rng([rows, seeds, round(1000 * accuracy)])
    counts = random.multinomial(rows, np.full(rows, 1 / rows), RESAMPLES) / rows
    hits = np.zeros(2)
    for _ in range(repeats):
        right = random.random((seeds, rows)) < random.beta(accuracy, 1 - accuracy, rows)
        variance = MeanVariance.estimate(right.mean(axis=1), counts @ right.T, rows)
        mean = float(right.mean())
        for number, (bounds, is_fraction) in enumerate([(INFINITE, False), ((0.0, 1.0), True)]):
            interval = variance.interval(mean, bounds, is_fraction=is_fraction)
            hits[number] += interval.low <= accuracy <= interval.high
    return hits / repeats


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize(
    ("accuracy", "rows", "highest_before"),
    [(0.99, 30, 0.6), (0.99, 140, 0.85), (0.97, 140, 0.95), (0.9, 140, 0.97), (0.6, 140, 0.98)],
)
def test_interval_of_an_accuracy_contains_it(accuracy, rows, seeds, highest_before):
    before, now = covered(accuracy, rows, seeds)
    print(f"accuracy {accuracy}, {rows} rows, {seeds} seeds: {before:.2f} → {now:.2f}")
    assert before < highest_before
    assert 0.93 < now <= 1


@pytest.mark.parametrize("rows", [1, 2, 10, 137, 100_000])
@pytest.mark.parametrize("seeds", [1, 5])
def test_interval_has_a_width_if_all_rows_are_right_or_wrong(rows, seeds):
    truth = np.zeros(rows, int)
    predictions = {"right": np.zeros((seeds, rows), int), "wrong": np.ones((seeds, rows), int)}
    results = compare_with_best(truth, predictions, METRICS["accuracy"])
    right, wrong = results["right"].interval, results["wrong"].interval
    assert right.high == 1
    assert wrong.low == 0
    assert right.low == pytest.approx(1 - wrong.high)
    # Of n rows without an error, up to 3/n may be wrong (Hanley and Lippman-Hand 1983).
    assert 1 - right.low >= 0.95 * min(3 / rows, 1)
    assert 1 - right.low <= 8 / rows


def test_interval_of_one_wrong_row_is_wider_than_that_of_none():
    truth = np.zeros(100, int)
    wrong = truth.copy()
    wrong[0] = 1
    results = compare_with_best(
        truth, {"none": truth[None], "one": wrong[None]}, METRICS["accuracy"]
    )
    widths = {name: result.interval.high - result.interval.low for name, result in results.items()}
    assert widths["one"] > widths["none"]


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1"])
def test_other_metrics_without_variance_have_a_width(name):
    truth = np.arange(60) % 3
    interval = compare_with_best(truth, {"a": truth[None]}, METRICS[name])["a"].interval
    assert interval.high == 1
    assert 0.8 < interval.low < 0.95
