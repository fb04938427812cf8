"""The built-in text encoder: hashed words and character n-grams.

Feature hashing with signs (Weinberger et al., 2009, "Feature Hashing for Large Scale Multitask
Learning"): each n-gram adds its weight to one entry of the vector, with a sign that makes
collisions cancel on average. Words carry the meaning. Character n-grams within a word cover stems,
endings, misspellings, and languages without spaces between words.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.text_input import (
    BASE,
    MAX_CHARS,
    SPACE,
    code_points,
    decode_text,
    fold_text,
    mix_bits,
)
from mmfeat.errors import MmfeatError

VERSION = 1
"""Increase with any change to the values of `encode`."""

CHAR_NGRAMS = range(1, 5)
PAIR_WEIGHT = 0.5
"""Weight of a pair of neighbouring words, relative to a single word. Pairs distinguish "not good"
from "good", but most pairs occur once, so at full weight they dominate the words."""

_BLOCK_VALUES = 1 << 17
"""Values of the vectors that are made at once. With more, memory from the system costs more than
the calls of numpy that it saves."""


class TextNgrams(Encoder):
    """Hashed words, pairs of words and character n-grams of any language.

    Half of the vector is for words, half for characters. Each half has length 1, so that neither
    dominates at any length of the text. HTML, URLs and code are treated like other text.

    Args:
        dim: length of the vector, an even number. Fewer dimensions cause more collisions.
    """

    modality = "text"
    uses_one_core = True
    budget = 1 << 16

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
            # A newer Unicode may fold or split newly assigned characters differently.
            "unicode": unicodedata.unidata_version,
        }

    def decode(self, data: bytes) -> str:
        """Decode UTF-8 and truncate it; see `decode_text`."""
        return decode_text(data)

    def length(self, item: str) -> int:
        """Return the number of characters."""
        return len(item)

    def encode(self, batch: Sequence[str]) -> np.ndarray:
        """Encode texts: float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        rows = max(1, _BLOCK_VALUES // self.dim)
        for start in range(0, len(batch), rows):
            texts = [fold_text(text) for text in batch[start : start + rows]]
            block, middle = features[start : start + rows], self.dim // 2
            block[:, :middle] = _hash_words(texts, middle)
            block[:, middle:] = _hash_characters(texts, self.dim - middle)
        return features


class _Spacing(dict[int, str]):
    """A table for `str.translate` that inserts spaces so that `split` yields the words.

    Ideographs, kana, emoji, punctuation and symbols are words by themselves. Blanks and control
    characters separate words. Joiners and variation selectors, which are invisible, are removed.
    Entries are added on first use: a table of all of Unicode would take 0.2 s per process.
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


def _hash_words(texts: Sequence[str], dim: int) -> np.ndarray:
    """Hash words and pairs of neighbouring words of each text to a vector of length 1.

    Returns:
        Shape (len(texts), dim).
    """
    # A text of unassigned or private characters only has no words in the table's sense.
    words = [text.translate(_SPACING).split() or text.split() for text in texts]
    counts = np.array([len(row) for row in words])
    if not counts.any():
        return np.zeros((len(texts), dim))
    codes = code_points(" ".join([word for row in words for word in row]))
    is_letter = codes != SPACE
    starts = np.concatenate([[0], np.flatnonzero(~is_letter) + 1])
    offsets = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    powers = np.cumprod(np.full(offsets.max() + 1, BASE))
    hashes = mix_bits(np.add.reduceat(codes * powers[offsets] * is_letter, starts))
    rows = np.repeat(np.arange(len(texts)), counts)
    is_pair = rows[:-1] == rows[1:]
    pairs = mix_bits(hashes[:-1] * BASE + hashes[1:])[is_pair]
    pair_counts = np.maximum(counts - 1, 0)
    return _unit(_sketch(hashes, counts, dim) + PAIR_WEIGHT * _sketch(pairs, pair_counts, dim))


def _hash_characters(texts: Sequence[str], dim: int) -> np.ndarray:
    """Hash character n-grams within words between blanks of each text to a vector of length 1.

    The blank at each end of a word is part of it, so "ing " differs from "ing" within a word. As no
    n-gram contains a blank further inside, the texts are hashed as one, with a blank between them.

    Returns:
        Shape (len(texts), dim).
    """
    plain = [" ".join(text.split()) for text in texts]
    codes = code_points(f" {' '.join(plain)} ")
    lengths = np.array([len(text) + 1 for text in plain])  # with the blank before the text
    is_letter = codes != SPACE
    # One row per position, one column per n: so the n-grams of a text stay together.
    hashes = np.zeros((len(codes), len(CHAR_NGRAMS)), np.uint64)
    is_within_word = np.zeros(hashes.shape, bool)
    rolling = np.zeros(len(codes) + 1, np.uint64)
    inner = is_letter[:-1] | is_letter[1:]
    for column, n in enumerate(CHAR_NGRAMS):
        count = len(codes) - n + 1
        if count < 1:
            break
        # Polynomial hash of all windows of n characters, from that of n - 1 characters.
        rolling = (rolling[:count] + codes[n - 1 :]) * BASE
        if n > 2:
            inner = inner[:count] & is_letter[n - 2 :][:count]
        hashes[:count, column] = mix_bits(rolling ^ np.uint64(n))
        is_within_word[:count, column] = inner if n > 1 else is_letter
    starts = np.cumsum(lengths) - lengths
    counts = np.add.reduceat(is_within_word.sum(axis=1), starts)
    return _unit(_sketch(hashes[is_within_word], counts, dim))


def _sketch(hashes: np.ndarray, counts: np.ndarray, dim: int) -> np.ndarray:
    """Add the damped, signed count of each hash of a text to one entry of its vector.

    Args:
        hashes: the hashes of all texts, text after text. They are sorted in place.
        counts: number of hashes of each text.
        dim: length of a vector.

    Returns:
        Shape (len(counts), dim).
    """
    ends = np.cumsum(counts)
    for start, end in zip(ends - counts, ends, strict=True):
        hashes[start:end].sort()
    is_first = np.ones(len(hashes), bool)
    np.not_equal(hashes[1:], hashes[:-1], out=is_first[1:])
    is_first[(ends - counts)[counts > 0]] = True
    places = np.flatnonzero(is_first)
    distinct = hashes[places]
    repeats = np.diff(places, append=len(hashes))
    sign = np.where(distinct >> np.uint64(63), 1.0, -1.0)
    rows = np.repeat(np.arange(len(counts)), counts)[places]
    indices = rows * dim + (distinct % np.uint64(dim)).astype(np.int64)
    sketch = np.bincount(indices, sign * (1 + np.log(repeats)), minlength=len(counts) * dim)
    return sketch.reshape(len(counts), dim)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors, shape (rows, dim), to length 1. Vectors of zeros stay zero."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return vectors / np.where(lengths, lengths, 1)
