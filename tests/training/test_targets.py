"""From a metadata column to classes."""

import pyarrow as pa
import pytest

from mmfeat.errors import MmfeatError
from training.targets import check_target, find_classes, read_labels


def labels_of(values: list[object], kind: pa.DataType | None = None) -> list[str | None]:
    return read_labels(pa.chunked_array([pa.array(values, kind)]), "label")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["cat", "", " ", None, "dog "], ["cat", None, None, None, "dog "]),
        ([3, None, -1], ["3", None, "-1"]),
        ([3.0, float("nan"), None], ["3", None, None]),
        ([True, False, None], ["true", "false", None]),
        ([None, None], [None, None]),
    ],
)
def test_labels_become_text_and_blanks_become_none(
    values: list[object], labels: list[str | None]
) -> None:
    assert labels_of(values) == labels


def test_dictionary_encoded_text_reads_like_text() -> None:
    column = pa.chunked_array([pa.array(["a", None, "b"]).dictionary_encode()])
    assert read_labels(column, "label") == ["a", None, "b"]


def test_a_fraction_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match=r"'label' must hold classes.*got 2\.5"):
        labels_of([1.0, 2.5])


def test_infinity_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match=r"must hold classes.*got inf"):
        labels_of([1.0, float("inf")])


def test_a_list_is_not_a_class() -> None:
    with pytest.raises(MmfeatError, match="must hold text, whole numbers or booleans"):
        labels_of([["a"], ["b"]])


def test_an_unknown_target_names_the_columns_and_the_likely_one() -> None:
    with pytest.raises(MmfeatError) as caught:
        check_target("lable", ["label", "split"])
    assert str(caught.value) == (
        "the samples table has no column 'lable'; it has: label, split. Did you mean 'label'?"
    )


def test_numbers_sort_by_value_and_text_by_letters() -> None:
    assert find_classes({"10": 1, "9": 2, "-1": 1}, "label") == ["-1", "9", "10"]
    assert find_classes({"10": 1, "9": 1, "x": 1}, "label") == ["10", "9", "x"]


def test_one_class_is_refused() -> None:
    with pytest.raises(MmfeatError, match=r"at least two classes.*got \['only'\]"):
        find_classes({"only": 2}, "label")


def test_a_key_column_is_refused_as_target() -> None:
    with pytest.raises(MmfeatError, match="1,200 classes in 1,200 training rows"):
        find_classes({f"id-{number}": 1 for number in range(1200)}, "label")
