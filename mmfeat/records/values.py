"""What counts as no value, and how a value reads as text. All stages use these definitions."""

from typing import Any


def is_missing(value: Any) -> bool:
    """Return whether a cell has no value: null, NaN (also NaT and a decimal NaN) or empty text."""
    # NaN is the only value that differs from itself.
    return value is None or value == "" or bool(value != value)


def key_text(value: Any) -> str:
    """Return a key as text. The whole number 1.0 reads `1`: a missing key makes pandas use floats.

    A missing value reads as empty text.
    """
    if is_missing(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
