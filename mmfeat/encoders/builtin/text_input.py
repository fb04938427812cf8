"""Texts as code points: decoded, normalized and bounded, the same on every machine."""

import unicodedata

import numpy as np

from mmfeat.errors import RecordError
from mmfeat.records import visible_start

MAX_CHARS = 16_384
"""Text after this is not read: about ten pages, 10 ms. Unicode normalization is quadratic in a run
of combining marks: 0.2 s for a run of this length, minutes for 1 MB."""

SPACE = ord(" ")
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Base of polynomial hashes. It is odd, so multiplication modulo 2**64 is invertible."""


def decode_text(data: bytes) -> str:
    """Decode UTF-8, with or without byte order mark, and truncate it to `MAX_CHARS`.

    Raises:
        RecordError: `undecodable` if not UTF-8, `empty` if no character is visible.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError("undecodable", str(error)) from error
    start = visible_start(text)
    if start == len(text):
        raise RecordError("empty", "the text has no visible character")
    # Invisible characters before the first word belong to it, unless there are very many.
    lead = len(text) - len(text.lstrip())
    return text[lead if start - lead < MAX_CHARS else start :][:MAX_CHARS]


def fold_text(text: str) -> str:
    """Return the first `MAX_CHARS` characters without differences of case, width and ligatures."""
    # NFKC may lengthen a text (one Arabic ligature becomes 18 letters): truncate again.
    return unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()[:MAX_CHARS]


def code_points(text: str) -> np.ndarray:
    """Return the code points as uint64, the same on machines of any byte order."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)


def mix_bits(hashes: np.ndarray) -> np.ndarray:
    """Spread each hash over all 64 bits (the finalizer of SplitMix64, Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
