"""What a usable text is. All stages use these rules."""

import re
import unicodedata

from mmfeat.errors import RecordError
from mmfeat.records.limits import MAX_TEXT_BYTES

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

_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_text(content: bytes) -> str:
    """Decode a text.

    Raises:
        RecordError: `too_large` if it has more than `MAX_TEXT_BYTES`, `undecodable` if it is not
            UTF-8, `empty` if it has no visible character.
    """
    check_text_size(len(content))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecordError("undecodable", str(error)) from error
    if is_blank(text):
        raise RecordError("empty", "the text has no visible character")
    return text


def check_text_size(size: int) -> None:
    """Check the size of a text in bytes, or in characters, of which it has no more than bytes.

    Raises:
        RecordError: `too_large` if it is above `MAX_TEXT_BYTES`.
    """
    if size > MAX_TEXT_BYTES:
        raise RecordError("too_large", f"a text of {size:,} bytes; the limit is {MAX_TEXT_BYTES:,}")


def is_utf8(text: str) -> bool:
    """Return whether a text can be written as UTF-8: lone surrogates stand for other bytes."""
    return text.isascii() or not _SURROGATE.search(text)


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    return visible_start(text) == len(text)


def visible_start(text: str) -> int:
    """Return the position of the first visible character; the length if there is none."""
    return next((place for place, char in enumerate(text) if _is_visible(char)), len(text))


def _is_visible(char: str) -> bool:
    return unicodedata.category(char) not in _INVISIBLE_CATEGORIES and ord(char) not in _INVISIBLE
