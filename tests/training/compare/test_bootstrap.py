import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from training.compare import bootstrap
from training.compare.bootstrap import (
    compare_with_best,
    holm,
    percentile_interval,
    resample,
    two_sided_p,
)
from training.metrics.functions import METRICS, RowMetric

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
    assert c.corrected_p_value == pytest.approx(2 * 2 / 2001)
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
def test_sum_metric_equals_row_metric(name):
    random = np.random.default_rng(1)
    truth = random.integers(3, size=40)
    predictions = {"a": random.integers(3, size=(2, 40)), "b": random.integers(4, size=(3, 40))}
    fast = resample(truth, predictions, METRICS[name], resamples=50)
    slow = resample(truth, predictions, RowMetric(METRICS[name]), resamples=50)
    for model in predictions:
        tolerance = 0.02 if name == "pearson" else 1e-12
        assert np.allclose(fast[model], slow[model], atol=tolerance)


def test_undefined_resamples_are_ignored():
    random = np.random.default_rng(2)
    truth = np.zeros(30, np.int64)
    truth[:2] = 1

    def auroc(truth, scores):
        return roc_auc_score(truth, scores) if 0 < truth.sum() < len(truth) else np.nan

    scores = {"good": truth + random.random((2, 30)), "bad": random.random((2, 30))}
    results = compare_with_best(truth, scores, RowMetric(auroc), resamples=200)
    assert results["good"].is_best
    assert results["good"].interval.high == 1.0
    assert not np.isnan(results["bad"].p_value)


def test_model_with_undefined_metric_is_neither_best_nor_tied():
    metric = RowMetric(lambda truth, prediction: float(prediction.mean()))
    predictions = {"none": np.full((1, 9), np.nan), "some": np.ones((1, 9))}
    results = compare_with_best(np.zeros(9), predictions, metric, resamples=20)
    assert results["some"].is_best
    assert not results["none"].tied
    assert np.isnan(results["none"].interval.low)


def test_resamples_depend_on_seed_and_not_on_other_models(monkeypatch):
    truth, predictions = make_predictions(a=0.8, b=0.7, c=0.6)
    first = resample(truth, predictions, ACCURACY, resamples=300, seed=5)
    monkeypatch.setattr(bootstrap, "CHUNK_NUMBERS", 7 * 400)
    fewer = {name: predictions[name] for name in ("c", "a")}
    again = resample(truth, fewer, ACCURACY, resamples=300, seed=5)
    assert all(np.array_equal(first[name], again[name]) for name in fewer)
    other = resample(truth, fewer, ACCURACY, resamples=300, seed=6)
    assert not np.array_equal(first["a"], other["a"])


def test_false_alarm_rate_is_bounded():
    random = np.random.default_rng(3)
    alarms = 0
    for trial in range(100):
        truth = np.zeros(200, np.int64)
        predictions = {name: random.integers(2, size=(1, 200)) for name in "ab"}
        results = compare_with_best(truth, predictions, ACCURACY, resamples=300, seed=trial)
        alarms += not all(result.tied for result in results.values())
    assert alarms <= 12


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_keeps_order_between_raw_and_bonferroni(p):
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, p * len(p)) + 1e-15).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_p_values_by_hand():
    assert two_sided_p(np.array([1.0, 2, 3, 4])) == pytest.approx(2 / 5)
    assert two_sided_p(np.array([-1.0, 2, 3, 4] * 10)) == pytest.approx(22 / 41)
    assert two_sided_p(np.zeros(9)) == 1.0
    assert two_sided_p(np.array([np.nan, np.nan])) == 1.0


def test_intervals_by_hand():
    interval = percentile_interval(np.append(np.arange(1001.0), np.nan))
    assert (interval.low, interval.high) == pytest.approx((25.0, 975.0))
    assert np.isnan(percentile_interval(np.array([np.nan])).low)


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
        assert 0 < result.p_value <= result.corrected_p_value <= 1


@pytest.mark.parametrize("shape", [(2, 9), (10,), (0, 10)])
def test_wrong_shape_is_an_error(shape):
    with pytest.raises(ValueError, match="model 'a' has shape"):
        compare_with_best(np.zeros(10), {"a": np.zeros(shape)}, ACCURACY)


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="at least one row"):
        compare_with_best(np.zeros(0), {"a": np.zeros((1, 0))}, ACCURACY)
