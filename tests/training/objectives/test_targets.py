"""Classes, labels and numbers of a metadata column."""

import math

import numpy as np
import pyarrow as pa
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records import arrow_array, arrow_field
from training.objectives.targets import (
    check_target,
    find_classes,
    read_binary,
    read_label_sets,
    read_labels,
    read_numbers,
)


def read_column(values: list[object], kind: pa.DataType | None = None) -> list[str | None]:
    return read_labels(pa.table({"label": pa.array(values, kind)}), "label")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["cat", "", " ", None, " big dog "], ["cat", None, None, None, "big dog"]),
        ([3, None, -1], ["3", None, "-1"]),
        ([3.0, float("nan"), None], ["3", None, None]),
        ([True, False, None], ["true", "false", None]),
        ([None, None], [None, None]),
    ],
)
def test_labels_are_text_and_blanks_are_none(
    values: list[object], labels: list[str | None]
) -> None:
    assert read_column(values) == labels


def test_dictionary_encoded_text_reads_like_text() -> None:
    table = pa.table({"label": pa.array(["a", None, "b"]).dictionary_encode()})
    assert read_labels(table, "label") == ["a", None, "b"]


def test_a_fraction_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match=r"must hold classes, not fractions; got 2\.5"):
        read_column([1.0, 2.5])


def test_infinity_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match=r"must hold classes.*got inf"):
        read_column([1.0, float("inf")])


def test_a_list_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match="must hold text, whole numbers or booleans"):
        read_column([["a"], ["b"]])


def test_a_json_list_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match=r"it holds lists.*--task multilabel"):
        read_column([None, '["a", "b"]'])
    assert read_column(['["', "[x]"]) == ['["', "[x]"]


def test_an_unknown_target_suggests_a_column() -> None:
    with pytest.raises(MmfeatError) as caught:
        check_target("lable", ["label", "split"])
    assert str(caught.value) == (
        "the samples table has no column 'lable'; it has: label, split. Did you mean 'label'?"
    )


def test_a_column_of_mmfeat_is_no_target() -> None:
    with pytest.raises(MmfeatError) as caught:
        check_target("image_status", ["label", "order_status"], {"status", "image_status"})
    assert str(caught.value).startswith(
        "the target must be a column of the input, and mmfeat wrote 'image_status'; the input has: "
        "label, order_status"
    )


def test_numbers_sort_by_value_and_text_by_letters() -> None:
    assert find_classes({"10": 1, "9": 2, "-1": 1}, "label") == ["-1", "9", "10"]
    assert find_classes({"10": 1, "9": 1, "x": 1}, "label") == ["10", "9", "x"]


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["--1", "2", "-3"], ["--1", "-3", "2"]),
        (["-", "2", "10"], ["-", "10", "2"]),
        (["10.0", "9.0", "-0.5"], ["-0.5", "9.0", "10.0"]),
        (["²", "1", "٣"], ["1", "²", "٣"]),
        (["1" * 5000, "2"], ["2", "1" * 5000]),
        (["1e5", "nan", "02", "2"], ["02", "1e5", "2", "nan"]),
    ],
)
def test_odd_labels_have_an_order(labels: list[str], order: list[str]) -> None:
    assert find_classes(dict.fromkeys(labels, 3), "label") == order


def test_a_column_of_json_cells_is_read_as_values() -> None:
    table = json_cells(["cat", 1, True, None, ""])
    assert read_labels(table, "x") == ["cat", "1", "true", None, None]
    with pytest.raises(MmfeatError, match=r"must hold text.*got \['a'\].*--task multilabel"):
        read_labels(json_cells(["cat", ["a"]]), "x")
    table = json_cells([["a", 1], "b,1.0", 1, None, '["c"]'])
    assert read_label_sets(table, "x") == [["a", "1"], ["b", "1.0"], ["1"], None, ["c"]]


def test_texts_are_numbers_as_floats_are() -> None:
    values = ["2.0", " 2 ", "", None, "-1e3", "1.50"]
    numbers = read_numbers(pa.table({"x": values}), "x")
    np.testing.assert_array_equal(numbers, [2, 2, math.nan, math.nan, -1000, 1.5])
    mixed = read_numbers(json_cells([2, "2.0", True, [1]][:3]), "x")
    np.testing.assert_array_equal(mixed, [2, 2, 1])
    nanoseconds = 1_700_000_000_123_456_789
    assert read_numbers(pa.table({"x": [nanoseconds]}), "x") == [float(nanoseconds)]
    for values in (["two"], ["1_000"], ["0x1"]):
        with pytest.raises(MmfeatError, match="must hold numbers for --task regression; got"):
            read_numbers(pa.table({"x": values}), "x")
    with pytest.raises(MmfeatError, match=r"got '1.225,76'. If the comma .* write 1225.76"):
        read_numbers(pa.table({"x": ["1.225,76"]}), "x")
    for value in ("inf", "9" * 5000):
        with pytest.raises(MmfeatError, match="must hold finite numbers"):
            read_numbers(pa.table({"x": [value]}), "x")


def json_cells(values: list[object]) -> pa.Table:
    """Return a table with a column `x` of values of different types, as it is in a store."""
    array = arrow_array(values, "json")
    return pa.table([array], pa.schema([arrow_field("x", "json", array.type)]))


def test_one_class_is_refused() -> None:
    with pytest.raises(MmfeatError, match=r"at least two classes.*got \['only'\]"):
        find_classes({"only": 2}, "label")


@pytest.mark.parametrize(
    "counts",
    [
        {f"id-{number}": 1 for number in range(1200)},
        {"the same title": 3, **{f"title {number}": 1 for number in range(30)}},
        {f"title {number}": 1 + number % 2 for number in range(1200)},
    ],
)
def test_a_column_of_titles_or_keys_is_refused_as_target(counts: dict[str, int]) -> None:
    with pytest.raises(MmfeatError, match=r"most rows have a class of their own.*a column of"):
        find_classes(counts, "title")


def test_few_rows_per_class_are_classes() -> None:
    few = {f"class {number}": 1 for number in range(20)}
    assert len(find_classes(few, "label")) == 20
    assert len(find_classes({f"class {n}": 1 + n % 2 for n in range(100)}, "label")) == 100


def read_sets(values: list[object], kind: pa.DataType | None = None) -> list[list[str] | None]:
    return read_label_sets(pa.table({"tags": pa.array(values, kind)}), "tags")


def test_label_separator() -> None:
    table = pa.table({"tags": ["sun, moon | a|", "b", ""]})
    assert read_label_sets(table, "tags", "|") == [["sun, moon", "a"], ["b"], []]


@pytest.mark.parametrize(
    ("values", "sets"),
    [
        ([["b", "a", "b"], [], None, [None, " c "]], [["b", "a"], [], None, ["c"]]),
        ([[2, 1], [3]], [["2", "1"], ["3"]]),
        (["b, a,b", "", None, " , c"], [["b", "a"], [], None, ["c"]]),
        (['["b", "a", "b"]', "[]", None, "[null, 3]"], [["b", "a"], [], None, ["3"]]),
        (['["sun, moon", "a"]', '"b"', "c"], [["sun, moon", "a"], ["b"], ["c"]]),
        (['"so" he said, x', "[x", "positive;negative"],
         [['"so" he said', "x"], ["[x"], ["positive;negative"]]),
        ([None, None], [None, None]),
    ],
)  # fmt: skip
def test_label_sets_from_lists_commas_and_json(
    values: list[object], sets: list[list[str] | None]
) -> None:
    assert read_sets(values) == sets


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.string()),
        pa.list_(pa.large_string()),
        pa.list_(pa.string(), 2),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_label_sets_from_all_arrow_lists(kind: pa.DataType) -> None:
    assert read_sets([["a", "b"], None], kind) == [["a", "b"], None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["['a', 'b']"], "must hold lists as JSON, with double quotes"),
        (['[{"name": "a"}]'], "must hold lists of labels"),
        ([1.5], "must hold lists of labels, or text with --label-separator"),
        ([[1.5]], "must hold lists of labels, or text with --label-separator"),
    ],
)
def test_other_values_are_no_label_sets(values: list[object], message: str) -> None:
    with pytest.raises(MmfeatError) as caught:
        read_sets(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("prices", [range(100, 160), [f"{n / 7:.2f}" for n in range(60)]])
def test_a_column_of_many_numbers_is_no_class_column(prices: list[object]) -> None:
    counts = {str(price): 1 for price in prices}
    with pytest.raises(MmfeatError, match=r"a quantity or a key.*--task regression"):
        find_classes(counts, "price")
    assert len(find_classes(dict.fromkeys(counts, 2), "price")) == 60


def test_binary_labels_from_numbers_booleans_and_text() -> None:
    for values in (
        [1, 0, None], [True, False, None], ["1", " 0 ", " "], [1.0, 0.0, None],
        ["1.0", "0.0", ""], ["True", "False", ""],
    ):  # fmt: skip
        assert read_binary(pa.table({"joy": values}), "joy").tolist() == [1, 0, 255]
    with pytest.raises(MmfeatError, match=r"'joy' must hold 0, 1 or booleans; got 2\.0"):
        read_binary(pa.table({"joy": [1, 2]}), "joy")


def test_null_labels_are_no_target_in_every_task() -> None:
    table = pa.table({"x": ["NA", " 1 ", "None", "0", "", None]})
    nulls = ["NA", "None"]
    assert read_labels(table, "x", nulls) == [None, "1", None, "0", None, None]
    assert read_label_sets(table, "x", ",", nulls) == [None, ["1"], None, ["0"], [], None]
    assert read_binary(table, "x", nulls).tolist() == [255, 1, 255, 0, 255, 255]
    np.testing.assert_array_equal(
        read_numbers(table, "x", nulls), [math.nan, 1, math.nan, 0, math.nan, math.nan]
    )
    assert read_labels(table, "x") == ["NA", "1", "None", "0", None, None]


def test_null_labels_among_others_are_dropped() -> None:
    table = pa.table({"x": ["a, NA", "NA,NA", "b"]})
    assert read_label_sets(table, "x", ",", ["NA"]) == [["a"], None, ["b"]]


def test_a_word_for_no_value_among_numbers_names_the_flag() -> None:
    with pytest.raises(MmfeatError, match=r"got 'n/a'\. If it means .*: --null-labels n/a"):
        read_numbers(pa.table({"x": ["1", "n/a"]}), "x")
