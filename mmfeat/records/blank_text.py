"""What an empty text is. All stages use this definition."""

import unicodedata

_INVISIBLE_CATEGORIES = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs")
"""Spaces, line ends, control and format characters. Unassigned characters are visible: the emoji of
the next Unicode version are among them."""

# fmt: off
_INVISIBLE = frozenset([
    *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),  # variation selectors
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0,
    0x2800,  # a Braille cell without dots
])
# fmt: on
"""Letters, marks and symbols that are never drawn."""


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    return visible_start(text) == len(text)


def visible_start(text: str) -> int:
    """Return the position of the first visible character; the length if there is none."""
    return next((place for place, char in enumerate(text) if _is_visible(char)), len(text))


def _is_visible(char: str) -> bool:
    return unicodedata.category(char) not in _INVISIBLE_CATEGORIES and ord(char) not in _INVISIBLE
