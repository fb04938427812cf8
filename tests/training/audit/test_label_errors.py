import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.audit import label_errors
from training.audit.label_errors import class_thresholds, find_label_errors


def make_probabilities(rows, classes, seed, noise=0.2):
    """Return labels, some of them wrong, and probabilities that follow the true classes."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes)) + 3 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(rows) < noise, rng.integers(0, classes, rows), true)
    labels[:classes] = np.arange(classes)  # each class has a row
    return labels, probabilities.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_errors_are_those_of_cleanlab_in_its_order(classes, seed):
    cleanlab = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
    labels, probabilities = make_probabilities(400, classes, seed)
    expected = cleanlab.find_label_issues(
        labels,
        probabilities.astype(np.float64),
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    found = find_label_errors(labels, probabilities)
    assert len(expected) > 10
    assert {*found.rows.tolist()} == {*expected.tolist()}
    margins = dict(zip(found.rows.tolist(), found.margins.tolist(), strict=True))
    np.testing.assert_allclose([margins[i] for i in expected], found.margins, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(3, 60), part=st.integers(1, 70), seed=st.integers(0, 1000))
def test_parts_do_not_change_the_result(rows, part, seed):
    labels, probabilities = make_probabilities(rows, 3, seed)
    whole = find_label_errors(labels, probabilities)
    before, label_errors._PART_ROWS = label_errors._PART_ROWS, part
    try:
        parts = find_label_errors(labels, probabilities)
    finally:
        label_errors._PART_ROWS = before
    for first, second in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_class_without_rows_is_suggested_to_no_record():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.full((4, 3), 1 / 3)
    assert class_thresholds(labels, probabilities).tolist() == [1 / 3, 1 / 3, 1.0]


def test_a_clear_error_is_first():
    labels = np.array([0] * 10 + [1] * 10)
    probabilities = np.where(labels[:, None] == [0, 1], 0.8, 0.2)
    probabilities[3] = [0.01, 0.99]
    probabilities[15] = [0.9, 0.1]
    found = find_label_errors(labels, probabilities)
    assert found.rows.tolist() == [3, 15]
    assert found.suggested.tolist() == [1, 0]
    np.testing.assert_allclose(found.margins, [0.01, 0.1])
