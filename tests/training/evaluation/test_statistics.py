import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score, f1_score

from training.evaluation.statistics import METRICS

CLASSES = st.integers(1, 30).flatmap(
    lambda rows: st.tuples(*[hnp.arrays(np.int64, rows, elements=st.integers(0, 3))] * 3)
)


def test_hand_values():
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert METRICS["accuracy"](truth, predicted) == 0.75
    assert METRICS["balanced_accuracy"](truth, predicted) == pytest.approx((2 / 3 + 1) / 2)
    assert METRICS["macro_f1"](truth, predicted) == pytest.approx((0.8 + 2 / 3) / 2)
    assert METRICS["mae"](np.array([1.0, 2.0]), np.array([2.0, 0.0])) == 1.5
    assert METRICS["pearson"](np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)


@given(CLASSES)
def test_sums_give_the_metrics_of_scikit_learn_on_every_resample(drawn):
    truth, predicted, rows = drawn
    rows = rows % len(truth)
    counts = np.bincount(rows, minlength=len(truth))
    for name, reference in (
        ("accuracy", lambda t, p: np.mean(t == p)),
        ("macro_f1", lambda t, p: f1_score(t, p, average="macro", zero_division=0)),
        ("balanced_accuracy", _balanced),
    ):
        metric = METRICS[name]
        value = metric.value(metric.table(truth, predicted) @ counts, len(truth))
        assert value == pytest.approx(reference(truth[rows], predicted[rows])), name


def _balanced(truth, predicted):
    hits = [np.mean(predicted[truth == number] == number) for number in np.unique(truth)]
    return np.mean(hits)


def test_the_balanced_accuracy_is_scikit_learns():
    random = np.random.default_rng(0)
    truth, predicted = random.integers(4, size=(2, 200))
    assert METRICS["balanced_accuracy"](truth, predicted) == pytest.approx(
        balanced_accuracy_score(truth, predicted)
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_pearson_is_scipys_far_from_zero_too(offset):
    random = np.random.default_rng(0)
    truth = random.normal(size=100)
    predicted = truth + random.normal(size=100)
    metric, rows = METRICS["pearson"], random.integers(100, size=100)
    counts = np.bincount(rows, minlength=100)
    value = metric.value(metric.table(truth + offset, predicted) @ counts, 100)
    assert value == pytest.approx(pearsonr(truth[rows], predicted[rows]).statistic, abs=1e-7)


def test_pearson_of_a_constant_is_0():
    constant = np.full(5, 0.1)
    assert METRICS["pearson"](np.arange(5.0), constant) == 0
    assert METRICS["pearson"](constant, constant) == 0
