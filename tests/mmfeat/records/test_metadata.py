import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.records import metadata
from mmfeat.records.metadata import (
    arrow_array,
    arrow_field,
    clean_metadata,
    common_kind,
    free_columns,
    read_cells,
    to_json_value,
    value_kind,
)
from mmfeat.records.values import values_equal


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(json_values, max_size=6))
def test_any_values_have_a_common_arrow_type(values):
    ready = [to_json_value(value) for value in values]
    json.dumps(ready, allow_nan=False)
    kind = None
    for value in ready:
        kind = common_kind(kind, value_kind(value))
    array = arrow_array(ready, kind or "string")
    assert len(array) == len(values)
    assert [item.is_valid for item in array] == [value is not None for value in ready]


def find_kind(values):
    kind = None
    for value in values:
        kind = common_kind(kind, value_kind(value))
    return kind


def test_mixed_scalars_become_their_canonical_text():
    assert arrow_array([1, None], "int64") == pa.array([1, None])
    assert find_kind([1, 2.5]) == "float64"
    # As floats, these two would be equal.
    large = [2**53, 2**53 + 1, 0.5]
    assert arrow_array(large, find_kind(large)).to_pylist() == [*map(str, large)]
    assert arrow_array(large[:2], find_kind(large[:2])) == pa.array(large[:2])
    values = [1, "1", 2.0, True, "one", None, 2**70]
    kind = find_kind(values)
    assert arrow_array(values, kind).to_pylist() == ["1", "1", "2", "true", "one", None, str(2**70)]


@settings(deadline=None)
@given(st.lists(json_values, max_size=6))
def test_cells_read_back_equal_what_was_written(values):
    ready = [to_json_value(value) for value in values]
    kind = find_kind(ready) or "string"
    array = arrow_array(ready, kind)
    table = pa.table([array], pa.schema([arrow_field("x", kind, array.type)]))
    for written, read in zip(ready, read_cells(table, "x"), strict=True):
        close = kind == "float64" and written is not None and float(written) == read
        assert close or values_equal(written, read)


def test_only_json_cells_are_parsed():
    values = ["[1]", "cat"]
    as_text = pa.table([pa.array(values)], pa.schema([arrow_field("x", "string", pa.string())]))
    assert read_cells(as_text, "x") == values
    mixed = [*values, [1, "a"]]
    array = arrow_array(mixed, find_kind(mixed))
    as_json = pa.table([array], pa.schema([arrow_field("x", "json", array.type)]))
    assert as_json["x"].to_pylist() == ['"[1]"', '"cat"', '[1, "a"]']
    assert read_cells(as_json, "x") == mixed


def test_values_that_json_cannot_hold_become_text():
    assert to_json_value(float("nan")) is None
    assert to_json_value(datetime.date(2024, 2, 29)) == "2024-02-29"
    assert to_json_value(b"\x00\x01") == "AAE="
    assert to_json_value("caf\udce9") == "caf\\udce9"


def test_a_value_that_is_not_utf8_is_null_and_named():
    values = {"a": "caf\udce9", "b": {"c": ["x", "\ud800"]}, "d": 1, "e\udce9": "x"}
    metadata, problems = clean_metadata(values)
    assert metadata == {"a": None, "b": None, "d": 1, "e\\udce9": "x"}
    assert problems == {"json": ("undecodable", "not UTF-8: 'a', 'b'")}
    assert clean_metadata({"d": 1, "t": "é"}) == ({"d": 1, "t": "é"}, {})


@pytest.mark.parametrize("value", [float("nan"), Decimal("nan"), np.datetime64("NaT")])
def test_no_value_is_null(value):
    assert to_json_value({"x": [value]}) == {"x": [None]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.00", 2),
        ("19.90", 19.9),
        ("-0.5", -0.5),
        ("12345678901234567890123", 12345678901234567890123),
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("1E+5000", "1E+5000"),
        ("Infinity", None),
    ],
)
def test_decimals_are_numbers_if_that_is_exact(text, value):
    read = to_json_value(Decimal(text))
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("a" * 2001, "more than 2,000 characters"),
        ([["a" * 1001], {"x": "a" * 1000}], "more than 2,000 characters"),
        ([0] * 501, "more than 500 values"),
        ([{"x": [[]] * 99}] * 9, "more than 500 values"),
        (nested(101), "more than 100 levels of lists and objects"),
    ],
)
def test_a_value_above_a_limit_is_null_with_a_reason(monkeypatch, value, detail):
    monkeypatch.setattr(metadata, "MAX_METADATA_CHARACTERS", 2000)
    monkeypatch.setattr(metadata, "MAX_METADATA_VALUES", 500)
    values = {"x": value, "y": "z", "bad": "\udce9"}
    cleaned, problems = clean_metadata(values)
    assert cleaned["x"] is cleaned["bad"] is None
    assert problems["json"][0] == "too_large"
    assert f"{detail}: 'x'" in problems["json"][1]


def test_values_within_the_limits_stay():
    values = {"x": nested(100), "y": [0] * 1000, "z": ["a" * 1000]}
    assert clean_metadata(values) == (values, {})


def test_the_names_of_many_columns_are_freed_in_linear_time():
    names = [f"c{number}" for number in range(100_000)]
    columns = free_columns([*names, "meta_c0"], {"c0"})
    assert columns["c0"] == "meta_c0"
    assert columns["meta_c0"] == "meta_meta_c0"
    assert len({*columns.values()}) == len(columns)
