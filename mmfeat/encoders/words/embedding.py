"""The scheme `embedding:`: word vectors, such as GloVe or fastText, averaged over a text.

Each line of the file has a word and its numbers. A first line of counts is optional, and the file
may be gzipped (GloVe: Pennington et al. 2014; word2vec text format: Mikolov et al. 2013; fastText
`.vec`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.encoders.words.vocabulary import Vocabulary
from mmfeat.errors import MmfeatError
from mmfeat.records import decode_text
from mmfeat.storage import files

_MAX_LINE_BYTES = 1 << 20
"""A line has a word and its numbers: 300 numbers take 3 KB."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `embedding:PATH`. `?words=N` reads only the first N words, the most frequent ones.

    Raises:
        MmfeatError: no such file, or a line without a word and its numbers.
    """
    check_modality(f"embedding:{name}", ["text"], modality)
    return WordVectors(name, options.get_int("words", 400_000, 1, 10_000_000))


class WordVectors(Encoder):
    """The mean of the word vectors of a text, each scaled to length 1.

    Args:
        path: file of word vectors.
        max_words: maximum number of words to read.
    """

    modality = "text"

    def __init__(self, path: str, max_words: int) -> None:
        if files.size(path) is None:
            raise MmfeatError("no such file of word vectors", got=path)
        words: dict[str, int] = {}
        rows: list[np.ndarray] = []
        for word, vector in _read_vectors(path):
            if word in words:
                continue
            if rows and len(vector) != len(rows[0]):
                raise MmfeatError(
                    f"{path}: each word must have {len(rows[0])} numbers",
                    got=f"{word!r} with {len(vector)}",
                )
            words[word] = len(rows)
            rows.append(vector / max(float(np.linalg.norm(vector)), 1e-12))
            if len(rows) == max_words:
                break
        if not rows or not len(rows[0]):
            raise MmfeatError(f"{path} must contain lines of a word and its numbers", got="none")
        self._vocabulary = Vocabulary(words)
        self._vectors = np.stack(rows).astype(np.float32)
        self.dim = self._vectors.shape[1]

    def identity(self) -> dict[str, Any]:
        return {
            "name": "embedding",
            "version": 1,
            "vectors": hashlib.sha256(self._vectors.tobytes()).hexdigest(),
            "vocabulary": self._vocabulary.sha256(),
        }

    def decode(self, data: bytes) -> list[int]:
        """Convert a text to word ids."""
        return self._vocabulary.word_ids(decode_text(data))

    def encode(self, batch: Sequence[list[int]]) -> np.ndarray:
        return np.stack([self._vectors[ids].mean(axis=0) for ids in batch])


def _read_vectors(path: str) -> Iterator[tuple[str, np.ndarray]]:
    with files.open_decompressed(path) as file:
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE_BYTES), b"")):
            if len(line) == _MAX_LINE_BYTES:
                rule = f"{path}, line {number + 1} must be shorter than {_MAX_LINE_BYTES:,} bytes"
                raise MmfeatError(rule)
            fields = line.rstrip().split(b" ")
            if number == 0 and len(fields) == 2:
                continue  # number of words and dimension
            try:
                vector = np.array(fields[1:], dtype=np.float32)
                with np.errstate(over="ignore"):
                    if not np.isfinite(vector @ vector):
                        raise ValueError("NaN, infinite or too large")
                yield fields[0].decode(), vector
            except ValueError as error:
                raise MmfeatError(
                    f"{path}, line {number + 1} must be a word and its numbers: {error}"
                ) from error
