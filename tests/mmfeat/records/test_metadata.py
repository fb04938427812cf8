import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.records.metadata import (
    arrow_array,
    clean_metadata,
    common_kind,
    to_json_value,
    value_kind,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


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


def test_mixed_types_become_json_text():
    assert arrow_array([1, None], "int64") == pa.array([1, None])
    assert common_kind("int64", "float64") == "float64"
    kind = common_kind(value_kind(1), value_kind("one"))
    assert arrow_array([1, "one", None], kind).to_pylist() == ["1", '"one"', None]


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
