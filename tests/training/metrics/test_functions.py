"""Metric functions against scikit-learn and SciPy, also on resamples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from training.metrics import ranking
from training.metrics.functions import METRICS
from training.metrics.multilabel import MULTILABEL_METRICS, multilabel_metric

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


@settings(deadline=None)
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
        value = metric.prepare(truth, predicted).measure(counts[:, None])[0]
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


def count(rows: np.ndarray, total: int) -> np.ndarray:
    return np.bincount(rows, minlength=total)[:, None].astype(float)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([0.0, 1e4]))
def test_metrics_of_numbers_equal_scikit_learn_on_resamples(seed, rows, offset):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows).round(1) + offset
    truth[0] += rng.choice([0, 1e6])  # most resamples lack the outlier
    predicted = (truth + rng.normal(size=rows)).astype(np.float32).astype(np.float64)
    drawn = rng.integers(rows, size=rows)
    t, p = truth[drawn], predicted[drawn]
    references = {
        "mae": mean_absolute_error(t, p),
        "rmse": root_mean_squared_error(t, p),
        "r2": r2_score(t, p) if np.ptp(t) else 0.0,
        "pearson": pearsonr(t, p).statistic if np.ptp(t) and np.ptp(p) else 0.0,
    }
    for name, reference in references.items():
        value = METRICS[name].prepare(truth, predicted).measure(count(drawn, rows))[0]
        tolerance = 1e-9 if offset else 1e-12
        assert value == pytest.approx(reference, rel=tolerance, abs=tolerance), name


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 4), st.sampled_from([1, 6]))
def test_metrics_of_labels_equal_scikit_learn_on_resamples(seed, rows, labels, digits):
    """With one digit, many scores are equal."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, labels)) < 0.4).astype(np.uint8)
    scores = rng.random((rows, labels)).round(digits).astype(np.float32)
    drawn = rng.integers(rows, size=rows)
    t, p = truth[drawn], scores[drawn]
    y, occurs = p >= 0.5, t.any(axis=0)
    ranked = [n for n in range(labels) if t[:, n].any() and not t[:, n].all()]
    columns = [(t[:, n], p[:, n]) for n in ranked]
    f1 = [f1_score(t[:, n], y[:, n], zero_division=0) for n in np.flatnonzero(occurs)]
    references = {
        "map": np.mean([average_precision_score(*c) for c in columns]) if ranked else np.nan,
        "auroc": np.mean([roc_auc_score(*c) for c in columns]) if ranked else np.nan,
        "macro_f1": np.mean(f1) if f1 else np.nan,
        "micro_f1": f1_score(t.ravel(), y.ravel(), zero_division=0),
        "subset_accuracy": (t == y).all(axis=1).mean(),
    }
    assert references.keys() == set(MULTILABEL_METRICS)
    for name, reference in references.items():
        value = multilabel_metric(name, 0.5).prepare(truth, scores).measure(count(drawn, rows))[0]
        assert value == pytest.approx(reference, abs=1e-12, nan_ok=True), name


def test_pearson_of_a_constant_is_0():
    constant = np.full(5, 0.1)
    assert METRICS["pearson"](np.arange(5.0), constant) == 0
    assert METRICS["pearson"](constant, constant) == 0


@settings(deadline=None)
@given(DRAWN)
def test_counts_of_distinct_rows_give_the_metric_of_all_rows(drawn):
    truth, predicted, _ = drawn
    pairs, counts = np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert METRICS[name].of_counts(*pairs, counts) == METRICS[name](truth, predicted)


@settings(deadline=None)
@given(DRAWN, st.sampled_from([4, 1 << 16]))
def test_auroc_in_parts_is_that_of_all_resamples(drawn, part):
    truth, _, scores = drawn
    one_hot, tied = truth[:, None] == np.arange(4), np.stack([scores, -scores, truth, scores], 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_PART_ROWS", part)
        found = ranking.mean_auroc(zip(one_hot.T, tied.T.astype(np.float32), strict=True))
    assert found == pytest.approx(ranking.AUROC(one_hot, tied.astype(np.float32)), nan_ok=True)
