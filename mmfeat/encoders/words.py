"""Texts as the words of a vocabulary: what encoders of single words share."""

import hashlib
import re
from collections.abc import Iterable

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.store import files

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")

MAX_WORDS = 512


class Vocabulary:
    """Words and their numbers.

    A text is folded to lower case where the vocabulary is, and split into words and marks. A word
    that is not in the vocabulary has the number of `<unk>`, or none where there is no such word.

    Args:
        words: in the order of their numbers.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._numbers = {word: number for number, word in enumerate(words)}
        self._unknown = self._numbers.get("<unk>")
        self._folds = not any(word != word.lower() for word in self._numbers if word[:1] != "<")

    def __len__(self) -> int:
        return len(self._numbers)

    def digest(self) -> str:
        """sha256 of all words in their order."""
        return hashlib.sha256("\n".join(self._numbers).encode()).hexdigest()

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's words, at most `MAX_WORDS`.

        Raises:
            RecordError: `empty`, where none of its words is known.
        """
        words = _WORD.findall(text.lower() if self._folds else text)
        found = [self._numbers.get(word, self._unknown) for word in words]
        known = [number for number in found if number is not None][:MAX_WORDS]
        if not known:
            raise RecordError("empty", "none of its words is in the vocabulary")
        return known


def read_vocabulary(path: str) -> Vocabulary:
    """A vocabulary of one word a line.

    Raises:
        MmfeatError: no such file, not UTF-8, or a word that stands there twice.
    """
    if files.size(path) is None:
        raise MmfeatError("no such vocabulary, one word a line", got=path)
    with files.open_input(path) as file:
        try:
            words = file.read().decode().split("\n")
        except UnicodeDecodeError as error:
            raise MmfeatError(f"{path} must be UTF-8: {error}") from error
    words = [word.rstrip("\r") for word in words]
    while words and not words[-1]:
        words.pop()
    if len(set(words)) < len(words):
        raise MmfeatError(f"each word of {path} must stand there once")
    return Vocabulary(words)
