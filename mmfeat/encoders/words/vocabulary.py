"""The vocabulary of encoders of whole words."""

import hashlib
import re
from collections.abc import Iterable

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.storage import files

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")

MAX_WORDS = 512


class Vocabulary:
    """Maps the words of a text to ids.

    Texts are split into words and punctuation marks, and lower-cased if the vocabulary is. An
    unknown word has the id of `<unk>`; without `<unk>` it is skipped.

    Args:
        words: in the order of their ids.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._ids = {word: number for number, word in enumerate(words)}
        self._unknown = self._ids.get("<unk>")
        self._is_lower = not any(word != word.lower() for word in self._ids if word[:1] != "<")

    def __len__(self) -> int:
        return len(self._ids)

    def sha256(self) -> str:
        """Hash all words in their order."""
        return hashlib.sha256("\n".join(self._ids).encode()).hexdigest()

    def word_ids(self, text: str) -> list[int]:
        """Return the ids of the first `MAX_WORDS` words of a text.

        Raises:
            RecordError: `empty` if no word is known.
        """
        words = _WORD.findall(text.lower() if self._is_lower else text)
        ids = [self._ids.get(word, self._unknown) for word in words]
        known = [number for number in ids if number is not None][:MAX_WORDS]
        if not known:
            raise RecordError("empty", "no word of the text is in the vocabulary")
        return known


def read_vocabulary(path: str) -> Vocabulary:
    """Read a vocabulary of one word per line.

    Raises:
        MmfeatError: no such file, not UTF-8, or a duplicate word.
    """
    if files.size(path) is None:
        raise MmfeatError("no such vocabulary file, one word per line", got=path)
    with files.open_input(path) as file:
        try:
            words = file.read().decode().split("\n")
        except UnicodeDecodeError as error:
            raise MmfeatError(f"{path} must be UTF-8: {error}") from error
    words = [word.rstrip("\r") for word in words]
    while words and not words[-1]:
        words.pop()
    if len(set(words)) < len(words):
        raise MmfeatError(f"{path} must contain each word once")
    return Vocabulary(words)
