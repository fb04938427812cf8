import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmfeat.inspection.rows import find_target, first_model, make_row, split_models

NAMES = st.sampled_from(
    "prediction probability top_classes top_probabilities target loss split shard status reason "
    "p_a p_b w_image w_ present_image misalignment alignment label m_prediction m_p_a n_prediction "
    "embedding error \0image".split()
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text("aé<\x1f\0", max_size=3),
    st.binary(max_size=3),
)
PAIRS = st.dictionaries(st.sampled_from(["a", "b"]), SCALARS, max_size=2)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), PAIRS)
ROWS = st.dictionaries(NAMES, VALUES, max_size=8)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=1000)
@given(ROWS, ROWS, st.sampled_from(["", "label", "split", "no such column"]))
def test_rows_of_any_values_are_shown(values, metadata, target):
    row = make_row({"__key__": "k", **values}, "", target, metadata)
    numbers = [row.confidence, row.error, row.loss, row.misalignment, *row.weights.values()]
    assert all(number is None or math.isfinite(number) for number in numbers)
    texts = [row.status, row.reason, row.shard, *row.labels, *row.predictions, *row.absent.values()]
    assert all(isinstance(text, str) for text in texts)
    assert row.is_wrong in (None, True, False)
    find_target([(values, metadata)], ["a"])


def test_an_empty_list_is_an_answer():
    row = make_row({"__key__": "k", "prediction": [], "target": ["a"], "loss": 1.0}, "", "")
    assert row.is_wrong is True
    assert make_row({"__key__": "k", "prediction": [], "target": []}, "", "").is_wrong is None
    right = make_row({"__key__": "k", "prediction": ["b", "a"]}, "", "tags", {"tags": ["a", "b"]})
    assert right.is_wrong is False


def test_numbers_have_an_error_and_no_outcome():
    row = make_row({"__key__": "k", "prediction": 2.5}, "", "price", {"price": 4})
    assert (row.error, row.is_wrong) == (1.5, None)
    assert make_row({"__key__": "k", "prediction": 2.5}, "", "price", {"price": "x"}).error is None
    for prediction, price in ((math.inf, 4), (math.nan, 4), (1e308, -1e308)):
        row = make_row({"__key__": "k", "prediction": prediction}, "", "price", {"price": price})
        assert row.error is None


def test_the_column_of_the_labels_has_classes_only():
    rows = [({"prediction": "a", "m": 1}, {"kind": "a", "other": "c"}), ({}, {"kind": "b"})]
    assert find_target(rows, ["a", "b"]) == "kind"
    assert find_target(rows, ["c"]) == "other"
    assert find_target(rows, []) == ""
    assert find_target(rows, ["a", "c"]) == "other"
    assert find_target(rows, ["a", "c"], "kind") == "kind"  # one label is no class
    assert find_target(rows, [], "kind") == "kind"  # of numbers
    assert find_target(rows, ["c"], "kind") == "other"
    assert find_target(rows, ["a"], "prediction") == ""
    assert find_target(rows, ["a"], "absent") == ""


def test_columns_of_several_models_keep_their_names():
    row = {
        "__key__": "k",
        "a_prediction": "x",
        "a_p_x": 0.9,
        "a_without_image": 0.1,
        "a_b_prediction": "y",
        "a_b_probability": 0.8,
        "a_b_p_y": 0.8,
        "label": "x",
    }
    assert first_model(row) == {
        "__key__": "k",
        "prediction": "x",
        "p_x": 0.9,
        "a_without_image": 0.1,
        "a_b_prediction": "y",
        "a_b_probability": 0.8,
        "label": "x",
    }
    assert split_models(row) == {
        "a": {"prediction": "x", "p_x": 0.9, "without_image": 0.1},
        "a_b": {"prediction": "y", "probability": 0.8, "p_y": 0.8},
    }
    assert split_models({"prediction": "x", "m_prediction": "y"}) == {}
