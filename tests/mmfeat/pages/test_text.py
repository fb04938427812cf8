"""Formats of values."""

import math

import pytest

from mmfeat.pages import (
    clean_text,
    display_name,
    format_compact,
    format_number,
    format_setting,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (True, "yes"), (1234567, "1,234,567"),
        (0.91251, "0.913"), (-0.5, "−0.500"), (12.345, "12.3"), (12345.6, "12,346"),
        (0.0, "0.000"), (0.00012, "1.2e-04"),
    ],
)  # fmt: skip
def test_numbers_have_their_significant_digits(value: object, expected: str) -> None:
    assert format_number(value) == expected


def test_unprintable_characters_are_replaced() -> None:
    assert clean_text("a\x00b\u202ec\ud800\nd  e") == "a�b�c� d e"
    assert clean_text("👩‍🚀 小龙虾") == "👩‍🚀 小龙虾"
    assert clean_text("x" * 100, 10) == "xxxxxxxxx…"


def test_settings_are_shown_as_typed() -> None:
    assert [format_setting(v) for v in (0.0003, 0.2, [1e-4, 3e-4], "gmu", False)] == [
        "0.0003", "0.2", "0.0001, 0.0003", "gmu", "no",
    ]  # fmt: skip


def test_display_names_and_large_numbers() -> None:
    assert [display_name(n) for n in ("macro_f1", "nll", "balanced_accuracy")] == [
        "macro F1", "NLL", "balanced accuracy",
    ]  # fmt: skip
    assert [format_compact(v) for v in (1562633, 950, 2.5e9, None)] == [
        "1.56 M",
        "950",
        "2.5 G",
        "–",
    ]
