"""Values as a person reads them."""

import math

import pytest

from training.report.text import compact, number, plain, setting, title


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (True, "yes"), (1234567, "1,234,567"),
        (0.91251, "0.913"), (-0.5, "−0.500"), (12.345, "12.3"), (12345.6, "12,346"),
        (0.0, "0.000"), (0.00012, "1.2e-04"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_that_tell_something(value: object, told: str) -> None:
    assert number(value) == told


def test_what_cannot_be_shown_is_marked() -> None:
    assert plain("a\x00b\u202ec\ud800\nd  e") == "a�b�c� d e"
    assert plain("👩‍🚀 小龙虾") == "👩‍🚀 小龙虾"
    assert plain("x" * 100, 10) == "xxxxxxxxx…"


def test_settings_stay_what_was_typed() -> None:
    assert [setting(v) for v in (0.0003, 0.2, [1e-4, 3e-4], "gmu", False)] == [
        "0.0003", "0.2", "0.0001, 0.0003", "gmu", "no",
    ]  # fmt: skip


def test_names_and_large_numbers() -> None:
    assert [title(n) for n in ("macro_f1", "nll", "balanced_accuracy")] == [
        "macro F1", "NLL", "balanced accuracy",
    ]  # fmt: skip
    assert [compact(v) for v in (1562633, 950, 2.5e9, None)] == ["1.56 M", "950", "2.5 G", "–"]
