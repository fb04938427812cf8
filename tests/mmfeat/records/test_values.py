import math
from decimal import Decimal

import numpy as np
import pytest

from mmfeat.records import is_missing, key_text


@pytest.mark.parametrize(
    "value", [None, math.nan, np.float32("nan"), Decimal("nan"), np.datetime64("NaT"), ""]
)
def test_null_nan_and_empty_text_are_no_value(value):
    assert is_missing(value)
    assert key_text(value) == ""


@pytest.mark.parametrize("value", [0, 0.0, False, " ", "nan", [], {}, math.inf, [math.nan], b"x"])
def test_everything_else_is_a_value(value):
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-2.0, "-2"), (1e20, "1" + "0" * 20), (7, "7"), ("7", "7"), ("7.0", "7"),
        (1.5, "1.5"), ("1.50", "1.50"), ("-0", "-0"), ("1.00", "1.00"),
        ("01", "01"), ("v1.0", "v1.0"), (" ", " "),
        (math.inf, "inf"), (True, "True"), ("True", "True"),
    ],
)  # fmt: skip
def test_equal_numbers_are_one_key(value, text):
    assert key_text(value) == text
