"""Intervals, ties and the best model, against theory and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.compare.statistics import bootstrap, compare_with_best
from training.compare.statistics.bootstrap import resample_metric
from training.compare.statistics.pareto import Candidate, pick_cheapest_tied
from training.compare.statistics.variance import MeanVariance
from training.metrics.functions import METRICS, SumMetric
from training.metrics.ranking import AUROC

ACCURACY = METRICS["accuracy"]


def make_predictions(rows=400, seeds=3, **accuracies):
    """Truth with two classes, and predictions of about the given accuracies."""
    random = np.random.default_rng(7)
    truth = random.integers(2, size=rows)
    right = {name: random.random((seeds, rows)) < part for name, part in accuracies.items()}
    return truth, {name: np.where(is_right, truth, 1 - truth) for name, is_right in right.items()}


def test_large_difference_is_significant_small_one_is_a_tie():
    truth, predictions = make_predictions(a=0.9, b=0.89, c=0.6)
    results = compare_with_best(truth, predictions, ACCURACY, resamples=2000)
    assert results["a"].is_best
    assert results["a"].tied
    assert results["b"].tied
    assert not results["c"].tied
    c = results["c"]
    assert c.p_value == pytest.approx(1 / 2001)
    assert c.difference == pytest.approx(c.mean - results["a"].mean)
    assert c.difference < 0
    assert list(results) == ["a", "b", "c"]


def test_interval_matches_the_normal_approximation():
    truth, predictions = make_predictions(rows=1000, seeds=1, a=0.8)
    result = compare_with_best(truth, predictions, ACCURACY, resamples=4000)["a"]
    p = np.mean(predictions["a"] == truth)
    half = 1.96 * np.sqrt(p * (1 - p) / 1000)
    assert result.mean == p
    assert result.interval.low == pytest.approx(p - half, abs=0.003)
    assert result.interval.high == pytest.approx(p + half, abs=0.003)


def test_pairing_detects_a_difference_within_the_intervals():
    truth, predictions = make_predictions(rows=1000, seeds=1, a=0.7)
    worse = predictions["a"].copy()
    lost = np.flatnonzero(worse[0] == truth)[:20]
    worse[0, lost] = 1 - truth[lost]
    results = compare_with_best(
        truth, {"a": predictions["a"], "b": worse}, ACCURACY, resamples=2000
    )
    assert results["a"].interval.low < results["b"].mean
    assert not results["b"].tied


def test_different_seeds_widen_the_interval():
    truth = np.zeros(500, np.int64)
    steady, unsteady = np.zeros((4, 500), np.int64), np.zeros((4, 500), np.int64)
    steady[:, :100] = 1
    unsteady[:2, :200] = 1
    results = compare_with_best(truth, {"s": steady, "u": unsteady}, ACCURACY, resamples=2000)
    width = {n: s.interval.high - s.interval.low for n, s in results.items()}
    assert results["s"].mean == results["u"].mean == 0.8
    assert width["u"] > 2 * width["s"]
    assert results["s"].is_best  # Of equal models, the first.


def test_equal_models_have_p_value_1():
    truth, predictions = make_predictions(a=0.8)
    copies = {"a": predictions["a"][:1], "b": predictions["a"][:1]}
    assert compare_with_best(truth, copies, ACCURACY, resamples=200)["b"].p_value == 1.0


def test_rounding_does_not_break_ties():
    truth = np.arange(30.0)
    errors = np.random.default_rng(0).normal(size=30)
    predictions = {"a": (truth + errors)[None], "b": (truth - errors)[None]}
    results = compare_with_best(truth, predictions, METRICS["mae"], resamples=200)
    assert results["a"].is_best
    assert results["b"].p_value == 1.0


def test_lowest_error_is_the_best():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    predictions = {"far": truth[None] + 2.0, "near": truth[None] + random.normal(size=(2, 200))}
    results = compare_with_best(truth, predictions, METRICS["mae"], resamples=500)
    assert results["near"].is_best
    assert results["far"].difference > 0
    assert not results["far"].tied


@pytest.mark.parametrize("name", METRICS)
def test_resampled_metric_equals_the_metric_of_the_drawn_rows(name):
    random = np.random.default_rng(1)
    truth = random.integers(3, size=40)
    predictions = {"a": random.integers(3, size=(2, 40)), "b": random.integers(4, size=(3, 40))}
    fast = resample_metric(truth, predictions, METRICS[name], resamples=50)
    drawn = np.random.default_rng([0, 0]).integers(40, size=(50, 40))
    for model, seeds in predictions.items():
        slow = [[METRICS[name](truth[rows], seed[rows]) for seed in seeds] for rows in drawn]
        assert fast[model] == pytest.approx(np.array(slow), abs=1e-12)


def test_undefined_resamples_are_ignored():
    random = np.random.default_rng(2)
    truth = np.zeros(30, np.int64)
    truth[:2] = 1

    scores = {"good": truth + random.random((2, 30)), "bad": random.random((2, 30))}
    scores = {name: seeds[:, :, None] for name, seeds in scores.items()}
    results = compare_with_best(truth[:, None], scores, AUROC, resamples=200)
    assert results["good"].is_best
    assert results["good"].interval.high == 1.0
    assert not np.isnan(results["bad"].p_value)


def test_undefined_metric_has_no_interval_and_no_other_model_is_worse():
    predictions = {"a": np.zeros((1, 9, 1)), "b": np.ones((2, 9, 1))}
    results = compare_with_best(np.zeros((9, 1)), predictions, AUROC, resamples=20)
    assert results["a"].is_best
    assert not results["b"].tied
    assert results["b"].p_value == 1.0
    assert np.isnan(results["b"].interval.low)


def test_resamples_depend_on_seed_and_not_on_other_models(monkeypatch):
    truth, predictions = make_predictions(a=0.8, b=0.7, c=0.6)
    first = resample_metric(truth, predictions, ACCURACY, resamples=300, seed=5)
    monkeypatch.setattr(bootstrap, "CHUNK_NUMBERS", 7 * 400)
    fewer = {name: predictions[name] for name in ("c", "a")}
    again = resample_metric(truth, fewer, ACCURACY, resamples=300, seed=5)
    assert all(np.array_equal(first[name], again[name]) for name in fewer)
    other = resample_metric(truth, fewer, ACCURACY, resamples=300, seed=6)
    assert not np.array_equal(first["a"], other["a"])


@pytest.mark.parametrize(("models", "seeds"), [(2, 1), (8, 1), (8, 5)])
def test_equal_models_are_rarely_told_apart(models, seeds):
    """At most 5 % of comparisons may find a difference; .05 + 3 standard errors is .087."""
    random = np.random.default_rng(3)
    alarms = 0
    for trial in range(300):
        truth = np.zeros(200)
        luck = random.normal(0, 0.2, (models, seeds, 1)) if seeds > 1 else 0.0
        noise = random.normal(size=(models, seeds, 200)) + luck
        predictions = {str(number): values for number, values in enumerate(noise)}
        results = compare_with_best(truth, predictions, MEAN, resamples=300, seed=trial)
        alarms += not all(result.tied for result in results.values())
    assert alarms / 300 < 0.087


def test_many_models_far_from_the_best_are_not_tied():
    """With 1,000 resamples and Holm's correction, all of 27 models and more were tied."""
    random = np.random.default_rng(0)
    truth = random.normal(size=400)
    noise = {"best": 0.3, **{str(number): 0.55 for number in range(39)}}
    predictions = {name: truth + sd * random.normal(size=(5, 400)) for name, sd in noise.items()}
    results = compare_with_best(truth, predictions, METRICS["r2"], resamples=1000)
    assert results["best"].mean == pytest.approx(0.912, abs=0.01)
    assert results["0"].mean == pytest.approx(0.695, abs=0.02)
    assert [name for name, result in results.items() if result.tied] == ["best"]
    candidates = [
        Candidate(name, result.mean, 2.0 if name == "best" else 1.0, result.tied)
        for name, result in results.items()
    ]
    assert pick_cheapest_tied(candidates).name == "best"


def test_a_bad_model_does_not_hide_the_difference_of_others():
    truth, predictions = make_predictions(rows=1000, a=0.9, b=0.86)
    alone = compare_with_best(truth, predictions, ACCURACY)["b"].p_value
    _, bad = make_predictions(rows=1000, **{f"bad {number}": 0.3 for number in range(20)})
    together = compare_with_best(truth, predictions | bad, ACCURACY)["b"].p_value
    assert 0 < alone < 0.05
    assert together == pytest.approx(alone, abs=0.01)


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_too_few_rows_for_a_sign_test_are_ties(rows):
    truth = np.zeros(rows)
    results = compare_with_best(truth, {"a": truth[None], "b": truth[None] + 1}, ACCURACY)
    assert results["b"].tied
    assert results["b"].p_value == 2.0 ** (1 - rows)


MEAN = SumMetric(
    lambda truth, p: p[None] - truth, lambda sums, rows: sums[0] / rows, bounds=(-np.inf, np.inf)
)
"""The mean of the predictions minus the truth."""


@pytest.mark.parametrize("of_seeds", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("seeds", [2, 5])
def test_interval_contains_the_mean_of_all_rows_and_seeds(of_seeds, seeds):
    """Coverage of 95 % intervals, 3,000 simulated evaluations of 200 rows with standard deviations
    .4 of the rows, .2 of the rest, and several of the seeds."""
    repeats, rows = 3000, 200
    random = np.random.default_rng(seeds)
    values = random.normal(0, 0.4, (repeats, 1, rows)) + random.normal(
        0, of_seeds, (repeats, seeds, 1)
    )
    values += random.normal(0, 0.2, values.shape)
    hits = 0
    for value in values:
        # Draws of the means of resampled rows, from their normal limit.
        drawn = random.multivariate_normal(np.zeros(seeds), np.cov(value) / rows, 100)
        variance = MeanVariance.estimate(value.mean(axis=1), drawn, rows)
        interval = variance.interval(float(value.mean()), (-np.inf, np.inf))
        hits += interval.low <= 0 <= interval.high
    assert 0.93 < hits / repeats < 0.975


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_results_are_consistent(seed, rows, seeds):
    random = np.random.default_rng(seed)
    truth = random.integers(3, size=rows)
    predictions = {name: random.integers(3, size=(seeds, rows)) for name in "abc"}
    results = compare_with_best(truth, predictions, METRICS["macro_f1"], resamples=40, seed=seed)
    assert sum(result.is_best for result in results.values()) == 1
    for result in results.values():
        assert 0 <= result.interval.low <= result.interval.high <= 1
        assert result.difference <= 0
        assert 0 < result.p_value <= 1


@pytest.mark.parametrize("shape", [(2, 9), (10,), (0, 10)])
def test_wrong_shape_is_an_error(shape):
    with pytest.raises(ValueError, match="model 'a' has shape"):
        compare_with_best(np.zeros(10), {"a": np.zeros(shape)}, ACCURACY)


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        compare_with_best(np.zeros(0), {"a": np.zeros((1, 0))}, ACCURACY)
