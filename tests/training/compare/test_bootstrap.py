import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from training.compare import bootstrap
from training.compare.bootstrap import compare, holm, percentile_interval, resample, two_sided_p
from training.evaluation.statistics import METRICS, RowMetric

ACCURACY = METRICS["accuracy"]


def systems(rows=400, seeds=3, **accuracies):
    """Truth of two classes, and predictions that are right in so many rows."""
    random = np.random.default_rng(7)
    truth = random.integers(2, size=rows)
    right = {name: random.random((seeds, rows)) < part for name, part in accuracies.items()}
    return truth, {name: np.where(is_right, truth, 1 - truth) for name, is_right in right.items()}


def test_a_clear_difference_is_one_and_a_slight_one_is_a_tie():
    truth, predictions = systems(a=0.9, b=0.89, c=0.6)
    standings = compare(truth, predictions, ACCURACY, resamples=2000)
    assert standings["a"].best
    assert standings["a"].tied
    assert standings["b"].tied
    assert not standings["c"].tied
    c = standings["c"]
    assert c.p_holm == pytest.approx(2 * 2 / 2001)
    assert c.difference == pytest.approx(c.mean - standings["a"].mean)
    assert c.difference_interval.low < c.difference < c.difference_interval.high < 0
    assert list(standings) == ["a", "b", "c"]


def test_the_mean_is_over_seeds_and_the_interval_that_of_the_normal_approximation():
    truth, predictions = systems(rows=1000, seeds=1, a=0.8)
    standing = compare(truth, predictions, ACCURACY, resamples=4000)["a"]
    p = np.mean(predictions["a"] == truth)
    half = 1.96 * np.sqrt(p * (1 - p) / 1000)
    assert standing.mean == p
    assert standing.interval.low == pytest.approx(p - half, abs=0.003)
    assert standing.interval.high == pytest.approx(p + half, abs=0.003)


def test_pairing_sees_a_difference_that_the_two_intervals_hide():
    truth, predictions = systems(rows=1000, seeds=1, a=0.7)
    worse = predictions["a"].copy()
    lost = np.flatnonzero(worse[0] == truth)[:20]
    worse[0, lost] = 1 - truth[lost]
    standings = compare(truth, {"a": predictions["a"], "b": worse}, ACCURACY, resamples=2000)
    assert standings["a"].interval.low < standings["b"].mean
    assert not standings["b"].tied


def test_seeds_that_differ_widen_the_interval():
    truth = np.zeros(500, np.int64)
    steady, unsteady = np.zeros((4, 500), np.int64), np.zeros((4, 500), np.int64)
    steady[:, :100] = 1
    unsteady[:2, :200] = 1
    standings = compare(truth, {"s": steady, "u": unsteady}, ACCURACY, resamples=2000)
    width = {n: s.interval.high - s.interval.low for n, s in standings.items()}
    assert standings["s"].mean == standings["u"].mean == 0.8
    assert width["u"] > 2 * width["s"]
    assert standings["s"].best  # of equals the first


def test_equal_systems_are_tied_with_a_p_of_1():
    truth, predictions = systems(a=0.8)
    one = {"a": predictions["a"][:1], "b": predictions["a"][:1]}
    assert compare(truth, one, ACCURACY, resamples=200)["b"].p == 1.0


def test_rounding_does_not_break_ties():
    truth = np.arange(30.0)
    errors = np.random.default_rng(0).normal(size=30)
    predictions = {"a": (truth + errors)[None], "b": (truth - errors)[None]}
    standings = compare(truth, predictions, METRICS["mae"], resamples=200)
    assert standings["a"].best
    assert standings["b"].p == 1.0


def test_where_smaller_is_better_the_smallest_is_the_best():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    predictions = {"far": truth[None] + 2.0, "near": truth[None] + random.normal(size=(2, 200))}
    standings = compare(truth, predictions, METRICS["mae"], resamples=500)
    assert standings["near"].best
    assert standings["far"].difference > 0
    assert not standings["far"].tied


@pytest.mark.parametrize("name", METRICS)
def test_the_fast_path_gives_what_the_slow_one_gives(name):
    random = np.random.default_rng(1)
    truth = random.integers(3, size=40)
    predictions = {"a": random.integers(3, size=(2, 40)), "b": random.integers(4, size=(3, 40))}
    fast = resample(truth, predictions, METRICS[name], resamples=50)
    slow = resample(truth, predictions, RowMetric(METRICS[name]), resamples=50)
    for system in predictions:
        tolerance = 0.02 if name == "pearson" else 1e-12
        assert np.allclose(fast[system], slow[system], atol=tolerance)


def test_a_rank_metric_goes_row_by_row_and_undefined_resamples_are_left_out():
    random = np.random.default_rng(2)
    truth = np.zeros(30, np.int64)
    truth[:2] = 1

    def auroc(truth, scores):
        return roc_auc_score(truth, scores) if 0 < truth.sum() < len(truth) else np.nan

    scores = {"good": truth + random.random((2, 30)), "bad": random.random((2, 30))}
    standings = compare(truth, scores, RowMetric(auroc), resamples=200)
    assert standings["good"].best
    assert standings["good"].interval.high == 1.0
    assert not np.isnan(standings["bad"].p)


def test_a_system_whose_metric_is_not_defined_is_neither_best_nor_tied():
    metric = RowMetric(lambda truth, prediction: float(prediction.mean()))
    predictions = {"none": np.full((1, 9), np.nan), "some": np.ones((1, 9))}
    standings = compare(np.zeros(9), predictions, metric, resamples=20)
    assert standings["some"].best
    assert not standings["none"].tied
    assert np.isnan(standings["none"].interval.low)


def test_the_same_seed_gives_the_same_and_no_system_depends_on_the_others(monkeypatch):
    truth, predictions = systems(a=0.8, b=0.7, c=0.6)
    first = resample(truth, predictions, ACCURACY, resamples=300, seed=5)
    monkeypatch.setattr(bootstrap, "_CHUNK_NUMBERS", 7 * 400)
    fewer = {name: predictions[name] for name in ("c", "a")}
    again = resample(truth, fewer, ACCURACY, resamples=300, seed=5)
    assert all(np.array_equal(first[name], again[name]) for name in fewer)
    other = resample(truth, fewer, ACCURACY, resamples=300, seed=6)
    assert not np.array_equal(first["a"], other["a"])


def test_false_alarms_are_as_rare_as_promised():
    random = np.random.default_rng(3)
    alarms = 0
    for trial in range(100):
        truth = np.zeros(200, np.int64)
        predictions = {name: random.integers(2, size=(1, 200)) for name in "ab"}
        standings = compare(truth, predictions, ACCURACY, resamples=300, seed=trial)
        alarms += not all(standing.tied for standing in standings.values())
    assert alarms <= 12


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_keeps_the_order_and_lies_between_the_raw_value_and_bonferronis(p):
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


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_intervals_hold_together(seed, rows, seeds):
    random = np.random.default_rng(seed)
    truth = random.integers(3, size=rows)
    predictions = {name: random.integers(3, size=(seeds, rows)) for name in "abc"}
    standings = compare(truth, predictions, METRICS["macro_f1"], resamples=40, seed=seed)
    assert sum(standing.best for standing in standings.values()) == 1
    for standing in standings.values():
        assert 0 <= standing.interval.low <= standing.interval.high <= 1
        assert standing.difference <= 0
        assert 0 < standing.p <= standing.p_holm <= 1


@pytest.mark.parametrize("shape", [(2, 9), (10,), (0, 10)])
def test_predictions_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="of a have"):
        compare(np.zeros(10), {"a": np.zeros(shape)}, ACCURACY)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        compare(np.zeros(0), {"a": np.zeros((1, 0))}, ACCURACY)
