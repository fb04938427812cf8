"""What counts as no value, what is UTF-8, and how a key reads. All stages use these definitions."""

import re
from typing import Any

_WHOLE_WITH_FRACTION = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: null, NaN (also NaT and a decimal NaN) or empty text."""
    # NaN is the only value that differs from itself.
    return value is None or value == "" or bool(value != value)


def is_utf8(text: str) -> bool:
    """Return whether a text can be written as UTF-8: lone surrogates stand for other bytes."""
    return text.isascii() or not _SURROGATE.search(text)


def key_text(value: Any) -> str:
    """Return a key as text; empty for no value.

    The whole numbers 1 and 1.0 are one key, `1`, because a gap in a column of whole numbers makes
    pandas write fractions. So is the text "1.0", which a CSV of pandas holds. Other texts stay.
    """
    if is_missing(value):
        return ""
    is_whole = isinstance(value, float) and value.is_integer()
    text = str(int(value)) if is_whole else str(value)
    match = _WHOLE_WITH_FRACTION.fullmatch(text)
    return match[1] if match else text
