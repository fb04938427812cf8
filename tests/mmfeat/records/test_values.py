"""Equal values have one canonical text; different values have different ones. Some are no value."""

import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfeat.records import canonical_text, is_missing, key_text, to_number, values_equal

SPELLINGS = {
    "1": [1, 1.0, "1", "1.0"],
    "0": [0, 0.0, -0.0, "0", "0.0", "-0", "-0.0"],
    "-3": [-3, -3.0, "-3", "-3.0"],
    "2.5": [2.5, "2.5"],
    "true": [True, "true", "True", "TRUE"],
    "false": [False, "False"],
    "10000000000000000": [10**16, 1e16, "1e+16", "10000000000000000.0"],
    "9007199254740993": [2**53 + 1, "9007199254740993", "9007199254740993.0"],
    "01": ["01"],
    "1.50": ["1.50"],
    "1e3": ["1e3"],
    "+1": ["+1"],
    "--1": ["--1"],
    "1 ": ["1 "],
    "yes": ["yes"],
    "": [""],
}


@pytest.mark.parametrize(("text", "values"), SPELLINGS.items())
def test_canonical_text(text: str, values: list[object]) -> None:
    assert {canonical_text(value) for value in values} == {text}


def test_values_are_equal_if_they_are_one_value_in_any_spelling() -> None:
    values = [(name, value) for name, spellings in SPELLINGS.items() for value in spellings]
    for first_name, first in values:
        for second_name, second in values:
            assert values_equal(first, second) == (first_name == second_name), (first, second)


def test_a_missing_value_equals_only_itself() -> None:
    assert values_equal(None, None)
    assert not values_equal(None, "")
    assert not values_equal("None", None)


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(scalars)
def test_a_value_equals_its_text_as_python_and_json_write_it(value: bool | int | float) -> None:
    assert values_equal(value, str(value))
    assert values_equal(value, json.dumps(value))


@given(scalars | st.text())
def test_the_canonical_text_of_a_canonical_text_is_itself(value: object) -> None:
    assert canonical_text(canonical_text(value)) == canonical_text(value)


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_different_numbers_differ(first: float, second: float) -> None:
    assert values_equal(first, second) == (first == second)


def test_numbers_of_cells() -> None:
    for value, number in (
        (2, 2), (2.5, 2.5), ("2.0", 2), (" 2.50 ", 2.5), ("1e3", 1000), ("-.5", -0.5), ("02", 2),
        (True, 1), ("False", 0), ("9007199254740993", 2**53 + 1), ("inf", math.inf),
    ):  # fmt: skip
        assert to_number(value) == number, value
    assert to_number("9" * 5000) == math.inf
    assert math.isnan(to_number("NaN") or 0)
    for value in ("", "a", "1_000", "0x1", "1,5", None, [1], "²", "infinite"):
        assert to_number(value) is None, value


@pytest.mark.parametrize(
    "value", [None, math.nan, np.float32("nan"), Decimal("nan"), np.datetime64("NaT"), ""]
)
def test_null_nan_and_empty_text_are_no_value(value):
    assert is_missing(value)
    assert key_text(value) == ""


@pytest.mark.parametrize("value", [0, 0.0, False, " ", "nan", [], {}, math.inf, [math.nan], b"x"])
def test_everything_else_is_a_value(value):
    assert not is_missing(value)
