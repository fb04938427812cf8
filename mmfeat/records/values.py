"""Values of cells: when a cell has none, when two are equal, and which are numbers.

One rule serves labels, groups, splits, conditions and keys, because the same value is written in
several ways. A number is 1 in JSON, "1" in CSV, and 1.0 if pandas has a gap in the column. A
boolean is true in JSON and "True" in a CSV of pandas.
"""

import json
import re
from typing import Any

_WHOLE_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.0)?")
_LARGE_FLOAT = re.compile(r"-?[0-9](?:\.[0-9]+)?e\+[0-9]+")
"""How Python and pandas write whole floats from 1e16."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+(?:\.[0-9]{3})*,[0-9]+")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)")
_MAX_INTEGER_DIGITS = 300
"""Longer numbers are read as floats: Python refuses to parse integers of thousands of digits."""

_NULL_WORDS = frozenset(
    "na n/a #n/a #na <na> nan -nan nat <nat> none null <null> nil undefined".split()
)

_BOOLEANS = {"true": 1, "false": 0}


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: null, NaN (also NaT and a decimal NaN) or empty text."""
    # NaN is the only value that differs from itself.
    return value is None or value == "" or bool(value != value)


def is_null_word(text: str) -> bool:
    """Return whether a text is how programs write that a cell has no value, such as `NA` or `None`.

    It may also be a value, such as the code of Namibia or a person's name: `is_missing` is false.
    """
    return text.strip().casefold() in _NULL_WORDS


def canonical_text(value: Any) -> str:
    """Return a text that equal values share: 1, 1.0, "1" and "1.0" → `1`; True, "True" → `true`.

    A text equals a number only if it is how the number is written: "01" and "1.50" stay as they
    are.
    """
    if isinstance(value, str):
        return _canonical_spelling(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _canonical_spelling(text: str) -> str:
    if match := _WHOLE_NUMBER.fullmatch(text):
        sign, digits = match.groups()
        return digits if digits == "0" else sign + digits
    if _LARGE_FLOAT.fullmatch(text) and repr(float(text)) == text:
        return canonical_text(float(text))
    return text.lower() if text.lower() in _BOOLEANS else text


def values_equal(first: Any, second: Any) -> bool:
    """Return whether two cells hold the same value, however they are written."""
    if first is None or second is None:
        return first is second
    return canonical_text(first) == canonical_text(second)


def decimal_comma_cure(text: str) -> str:
    """Return how to write a number that has a decimal comma; empty for other texts."""
    if not _DECIMAL_COMMA.fullmatch(text.strip()):
        return ""
    number = text.strip().replace(".", "").replace(",", ".")
    return f"If the comma is a decimal comma, write {number}"


def to_number(value: Any) -> int | float | None:
    """Return the number of a cell: a number, a boolean, or a text of one; None for other values."""
    if isinstance(value, bool | int | float):
        return int(value) if isinstance(value, bool) else value
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if (match := _WHOLE_NUMBER.fullmatch(text)) and len(text) <= _MAX_INTEGER_DIGITS:
        return int(match[1] + match[2])
    if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text)
    return _BOOLEANS.get(text)
