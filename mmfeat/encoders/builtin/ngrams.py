"""The built-in text encoder for weighted n-grams: counts of hashed character n-grams.

Feature hashing without signs (Shi et al., 2009, "Hash Kernels for Structured Data"): each entry is
the damped count of the n-grams that share it, so the share of rows where it is not zero can be
counted on training rows, as the inverse document frequency of TF-IDF. Character n-grams of words
with their blanks cover stems, endings, misspellings, and languages without spaces (Cavnar &
Trenkle, 1994, "N-Gram-Based Text Categorization").
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

SHORT, LONG = (1, 2), (3, 4, 5)
"""Lengths of the n-grams of each half of the vector. In one half, long n-grams, most of which occur
in one text, would collide with all others."""

LONG_WEIGHT = 0.7
"""Length of the half of long n-grams, relative to the other."""

_BLOCK_VALUES = 1 << 17
"""Values of the vectors that are made at once. With more, memory from the system costs more than
the calls of numpy that it saves."""


class HashedNgrams(Encoder):
    """Damped counts of character n-grams within words, of any language.

    All values are 0 or more, most are 0, and the vector has length 1.

    Args:
        dim: length of the vector, an even number. Fewer dimensions cause more collisions.
    """

    modality = "text"
    uses_one_core = True
    budget = 1 << 16

    def __init__(self, *, dim: int = 8192) -> None:
        if not isinstance(dim, int) or dim < 64 or dim % 2:
            raise MmfeatError("builtin:ngrams: dim must be even, at least 64", got=dim)
        self.dim = dim

    def identity(self) -> dict[str, Any]:
        return {
            "name": "builtin:ngrams",
            "version": VERSION,
            "dim": self.dim,
            "ngrams": [list(SHORT), list(LONG)],
            "long_weight": LONG_WEIGHT,
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
            texts = [" ".join(fold_text(text).split()) for text in batch[start : start + rows]]
            counts = _count_ngrams(texts, self.dim)
            _weigh(counts, features[start : start + rows])
        return features


def _count_ngrams(texts: Sequence[str], dim: int) -> np.ndarray:
    """Count the n-grams of each text that share an entry.

    The blank at each end of a word is part of it, so "ing " differs from "ing" within a word. As no
    n-gram contains a blank further inside, the texts are hashed as one, with a blank between them.

    Args:
        texts: words with one blank between them.
        dim: number of entries, half of them for long n-grams.

    Returns:
        Shape (len(texts), dim).
    """
    codes = code_points(f" {' '.join(texts)} ")
    is_letter = codes != SPACE
    firsts = np.arange(len(texts)) * dim
    firsts = np.repeat(firsts, [len(text) + 1 for text in texts])  # with the blank before the text
    rolling = np.zeros(len(codes) + 1, np.uint64)
    is_within_word = is_letter
    entries = []
    for n in (*SHORT, *LONG):
        count = len(codes) - n + 1
        if count < 1:
            break
        # Polynomial hash of all windows of n characters, from that of n - 1 characters.
        rolling = (rolling[:count] + codes[n - 1 :]) * BASE
        if n == 2:
            is_within_word = is_letter[:-1] | is_letter[1:]
        elif n > 2:
            is_within_word = is_within_word[:count] & is_letter[n - 2 :][:count]
        places = np.flatnonzero(is_within_word)
        hashes = mix_bits(rolling[places] ^ np.uint64(n))
        # Multiplying the upper bits is faster than a division (Lemire, 2019).
        buckets = ((hashes >> np.uint64(32)) * np.uint64(dim // 2)) >> np.uint64(32)
        half = dim // 2 if n in LONG else 0
        entries.append(firsts[places] + (buckets.astype(np.int64) + half))
    counts = np.bincount(np.concatenate(entries), minlength=len(texts) * dim)
    return counts.reshape(len(texts), dim)


def _weigh(counts: np.ndarray, vectors: np.ndarray) -> None:
    """Damp counts, and scale both halves and the whole to their lengths.

    Args:
        counts: shape (rows, dim).
        vectors: zeros, shape (rows, dim), overwritten.
    """
    present = counts > 0
    vectors[present] = 1 + np.log(counts[present])
    halves = vectors.reshape(len(vectors), 2, -1)
    lengths = np.sqrt(np.square(halves).sum(axis=2))
    weights = np.where(lengths > 0, (1, LONG_WEIGHT), 0)
    total = np.sqrt(np.square(weights).sum(axis=1, keepdims=True))
    halves *= (weights / np.where(lengths * total, lengths * total, 1))[:, :, None]
