"""The scheme `embedding:`: word vectors, such as GloVe's or fastText's, averaged over a text.

The file has a word and its numbers a line, with or without a first line of counts (Pennington et
al. 2014, GloVe; Mikolov et al. 2013, word2vec's text form; fastText's .vec), also gzipped.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
import numpy as np

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import text_of
from mmfeat.encoders.settings import Settings
from mmfeat.encoders.words import Vocabulary
from mmfeat.errors import MmfeatError
from mmfeat.store import files


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`embedding:PATH`; `?words=N` reads the first N words alone, the most frequent ones.

    Raises:
        MmfeatError: no such file, or a line that is no word and its numbers.
    """
    if modality != "text":
        raise MmfeatError(f"embedding:{name} encodes text", got=modality)
    return WordVectors(name, options.number("words", 400_000, 1, 10_000_000))


class WordVectors(Encoder):
    """The mean of the vectors of a text's words, each brought to length 1 before.

    Args:
        path: of the vectors.
        most: words read at most.
    """

    modality = "text"

    def __init__(self, path: str, most: int) -> None:
        if files.size(path) is None:
            raise MmfeatError("no such file of word vectors", got=path)
        words: dict[str, int] = {}
        rows: list[np.ndarray] = []
        for word, vector in _lines(path):
            if word in words:
                continue
            if rows and len(vector) != len(rows[0]):
                raise MmfeatError(
                    f"{path}: each word must have {len(rows[0])} numbers",
                    got=f"{word!r} with {len(vector)}",
                )
            words[word] = len(rows)
            rows.append(vector / max(float(np.linalg.norm(vector)), 1e-12))
            if len(rows) == most:
                break
        if not rows or not len(rows[0]):
            raise MmfeatError(f"{path} must hold a word and its numbers a line", got="none")
        self._vocabulary = Vocabulary(words)
        self._vectors = np.stack(rows).astype(np.float32)
        self.dim = self._vectors.shape[1]

    def identity(self) -> dict[str, Any]:
        return {
            "name": "embedding",
            "version": 1,
            "vectors": hashlib.sha256(self._vectors.tobytes()).hexdigest(),
            "vocabulary": self._vocabulary.digest(),
        }

    def decode(self, data: bytes) -> list[int]:
        """Numbers of the text's words."""
        return self._vocabulary.numbers(text_of(data))

    def encode(self, batch: Sequence[list[int]]) -> np.ndarray:
        return np.stack([self._vectors[numbers].mean(axis=0) for numbers in batch])


def _lines(path: str) -> Iterator[tuple[str, np.ndarray]]:
    with fsspec.open(path, "rb", compression="infer").open() as file:
        for number, line in enumerate(file):
            fields = line.rstrip().split(b" ")
            if number == 0 and len(fields) == 2:
                continue  # counts of words and of numbers
            try:
                yield fields[0].decode(), np.array(fields[1:], dtype=np.float32)
            except ValueError as error:
                raise MmfeatError(
                    f"{path}, line {number + 1}: a word and its numbers must stand there: {error}"
                ) from error
