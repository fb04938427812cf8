"""A frozen text encoder that needs no download: hashed words and character n-grams.

Feature hashing with signs (Weinberger et al., 2009, "Feature Hashing for Large Scale Multitask
Learning"): each n-gram adds its weight to one place of the vector, with a sign that makes
collisions cancel on average. Words carry the meaning; character n-grams inside a word carry
stems, endings, misspellings, and the languages that put no spaces between words.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.errors import MmfeatError, RecordError

VERSION = 1
"""Goes up with any change of a value that `encode` returns."""

MAX_CHARS = 16_384
"""Text beyond this is not read: about ten pages, 10 ms. Unicode normalisation takes time quadratic
in a run of combining marks: 0.2 s for a text of nothing else at this length, minutes for 1 MB."""

CHAR_NGRAMS = range(1, 5)
PAIR_WEIGHT = 0.5
"""Weight of a pair of neighbouring words beside a single word: pairs tell "not good" from "good",
and most pairs are seen once, so at full weight they drown the words."""

_SPACE = ord(" ")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplication modulo 2**64 loses nothing


class TextNgrams(Encoder):
    """Hashed words, pairs of words and character n-grams of any language.

    Half of the vector is for words, half for characters; each part has length 1, so neither
    drowns the other however long the text. HTML, URLs and code are text like any other.

    Args:
        dim: length of the vector, an even number. Fewer dimensions, more collisions.
    """

    modality = "text"

    def __init__(self, *, dim: int = 4096) -> None:
        if not isinstance(dim, int) or dim < 64 or dim % 2:
            raise MmfeatError("builtin:text: dim must be even, at least 64", got=dim)
        self.dim = dim

    def identity(self) -> dict[str, Any]:
        return {
            "name": "builtin:text",
            "version": VERSION,
            "dim": self.dim,
            "char_ngrams": list(CHAR_NGRAMS),
            "pair_weight": PAIR_WEIGHT,
            "max_chars": MAX_CHARS,
            # Characters that a newer Unicode assigns may fold or split otherwise.
            "unicode": unicodedata.unidata_version,
        }

    def decode(self, data: bytes) -> str:
        """UTF-8 (a byte order mark is allowed) as text, cut after `MAX_CHARS` characters.

        Raises:
            RecordError: `undecodable` where it is not UTF-8, `empty` where nothing can be seen.
        """
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RecordError("undecodable", str(error)) from error
        text = text.lstrip()[:MAX_CHARS]
        if not text.translate(_SPACING).split():
            raise RecordError("empty", "the text has no visible character")
        return text

    def encode(self, batch: Sequence[str]) -> np.ndarray:
        """Texts as float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        words_dim = self.dim // 2
        for row, text in zip(features, batch, strict=True):
            # NFKC may lengthen a text (one Arabic ligature becomes 18 letters): cut again.
            text = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()[:MAX_CHARS]
            row[:words_dim] = _word_part(text, words_dim)
            row[words_dim:] = _char_part(text, self.dim - words_dim)
        return features


class _Spacing(dict[int, str]):
    """What `str.translate` does to each character so that `split` yields the words.

    Ideographs, kana, emoji, punctuation and symbols are words by themselves; blanks and controls
    separate; joiners and variation selectors, which nobody sees, vanish. Filled as characters are
    met, because a table of all of Unicode would cost every start of a worker 0.2 s.
    """

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
            piece = ""
        elif category[0] in "ZC":
            piece = " "
        elif category[0] in "PS" or unicodedata.east_asian_width(char) == "W":
            piece = f" {char} "
        else:
            piece = char
        self[code] = piece
        return piece


_SPACING = _Spacing()


def _word_part(text: str, dim: int) -> np.ndarray:
    """Single words and pairs of neighbours as one vector of length 1, shape (dim,)."""
    words = text.translate(_SPACING).split()
    if not words:
        return np.zeros(dim)
    codes = _codes(" ".join(words))
    starts = np.concatenate([[0], np.flatnonzero(codes == _SPACE) + 1])
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    powers = np.cumprod(np.full(place.max() + 1, _BASE))
    singles = _mix(np.add.reduceat(codes * powers[place] * (codes != _SPACE), starts))
    pairs = _mix(singles[:-1] * _BASE + singles[1:])
    return _unit(_sketch(singles, dim) + PAIR_WEIGHT * _sketch(pairs, dim))


def _char_part(text: str, dim: int) -> np.ndarray:
    """Character n-grams that stay within one blank-bounded run, as one vector of length 1.

    The blanks at both ends of a run belong to it, so "ing " differs from "ing" in mid-word.
    """
    codes = _codes(f" {' '.join(text.split())} ")
    blank = codes == _SPACE
    blanks_before = np.concatenate([[0], np.cumsum(blank)])
    found = []
    rolling = np.zeros(len(codes) + 1, np.uint64)
    for n in CHAR_NGRAMS:
        count = len(codes) - n + 1
        if count < 1:
            break
        # Polynomial hash of the windows of n characters from that of n - 1, all windows at once.
        rolling = (rolling[:count] + codes[n - 1 :]) * _BASE
        inner = blanks_before[n - 1 :][:count] - blanks_before[1:][:count]
        within = inner == 0 if n > 1 else ~blank
        found.append(_mix(rolling[within] ^ np.uint64(n)))
    return _unit(_sketch(np.concatenate(found), dim))


def _codes(text: str) -> np.ndarray:
    """Code points as uint64. Little-endian is named, so the machine does not matter."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)


def _mix(hashes: np.ndarray) -> np.ndarray:
    """Spread each value over all 64 bits (the finaliser of SplitMix64, Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _sketch(hashes: np.ndarray, dim: int) -> np.ndarray:
    """Count equal hashes, damp the counts, add each at its place with its sign, shape (dim,)."""
    kinds, counts = np.unique(hashes, return_counts=True)
    sign = np.where(kinds >> np.uint64(63), 1.0, -1.0)
    places = (kinds % np.uint64(dim)).astype(np.int64)
    return np.bincount(places, sign * (1 + np.log(counts)), minlength=dim)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.sqrt(np.square(vector).sum()))
    return vector / length if length else vector
