"""Decode a text: the rules of what a usable text is. All stages use them."""

from mmfeat.errors import RecordError
from mmfeat.records.blank_text import is_blank
from mmfeat.records.limits import MAX_TEXT_BYTES


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
