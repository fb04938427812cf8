"""What counts as no value, what is UTF-8, and how a key reads. All stages use these definitions."""

import re
from typing import Any

from mmfeat.records.equality import canonical_text

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

    Equal numbers are one key: 1, 1.0 and "1.0" read `1`, because a gap in a column of whole numbers
    makes pandas write fractions. Other texts stay as they are.
    """
    if is_missing(value):
        return ""
    text = canonical_text(value)
    return str(value) if text in ("true", "false") else text
