"""Metric functions against scikit-learn and SciPy, also on resamples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score, f1_score

from training.metrics.functions import METRICS

DRAWN = st.integers(1, 30).flatmap(
    lambda rows: st.tuples(*[hnp.arrays(np.int64, rows, elements=st.integers(0, 3))] * 3)
)


def test_metrics_by_hand():
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert METRICS["accuracy"](truth, predicted) == 0.75
    assert METRICS["balanced_accuracy"](truth, predicted) == pytest.approx((2 / 3 + 1) / 2)
    assert METRICS["macro_f1"](truth, predicted) == pytest.approx((0.8 + 2 / 3) / 2)
    assert METRICS["mae"](np.array([1.0, 2.0]), np.array([2.0, 0.0])) == 1.5
    assert METRICS["pearson"](np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)


@given(DRAWN)
def test_sums_equal_scikit_learn_on_resamples(drawn):
    truth, predicted, rows = drawn
    rows = rows % len(truth)
    counts = np.bincount(rows, minlength=len(truth))
    for name, reference in (
        ("accuracy", lambda t, p: np.mean(t == p)),
        ("macro_f1", lambda t, p: f1_score(t, p, average="macro", zero_division=0)),
        ("balanced_accuracy", balanced_accuracy),
    ):
        metric = METRICS[name]
        value = metric.value(metric.table(truth, predicted) @ counts, len(truth))
        assert value == pytest.approx(reference(truth[rows], predicted[rows])), name


def balanced_accuracy(truth, predicted):
    recalls = [np.mean(predicted[truth == number] == number) for number in np.unique(truth)]
    return np.mean(recalls)


def test_balanced_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(4, size=(2, 200))
    assert METRICS["balanced_accuracy"](truth, predicted) == pytest.approx(
        balanced_accuracy_score(truth, predicted)
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_pearson_equals_scipy(offset):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    predicted = truth + rng.normal(size=100)
    metric, rows = METRICS["pearson"], rng.integers(100, size=100)
    counts = np.bincount(rows, minlength=100)
    value = metric.value(metric.table(truth + offset, predicted) @ counts, 100)
    assert value == pytest.approx(pearsonr(truth[rows], predicted[rows]).statistic, abs=1e-7)


def test_pearson_of_a_constant_is_0():
    constant = np.full(5, 0.1)
    assert METRICS["pearson"](np.arange(5.0), constant) == 0
    assert METRICS["pearson"](constant, constant) == 0
