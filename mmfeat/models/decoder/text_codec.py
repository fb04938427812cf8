"""Text codecs: from a text to tokens and back.

A model keeps its codec in MODEL/tokenizer.json, in the format of the library tokenizers. The file
may be damaged or hostile. A byte-level BPE is read value by value and built again from its
vocabulary and merges, so that no other rule of that format can take part.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import json_decoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"

MAX_TOKENIZER_BYTES = 64 << 20
"""Maximum size of a tokenizer file. That of a language model with 256,000 tokens has 35 MB."""

MAX_TEXT_CHARACTERS = 1 << 16
"""Characters of a text that are encoded; the rest is beyond any maximum length."""

MIN_VOCABULARY, MAX_VOCABULARY = 256, 1 << 16
"""Sizes of a byte-level BPE: its bytes, and as many merges as fit in 16 bits."""

_SPECIAL = 3
_MIN_FREQUENCY = 2
_CURE = "Copy the model again, or remove its directory and train again"


class _Bpe(TypedDict):
    type: str
    vocab: Annotated[dict[str, int], Meta(min_length=MIN_VOCABULARY, max_length=MAX_VOCABULARY)]
    merges: Annotated[list[tuple[str, str]], Meta(max_length=MAX_VOCABULARY)]


class _Document(TypedDict):
    model: _Bpe


class TextCodec:
    """Turns texts into tokens and back.

    Args:
        tokenizer: a tokenizer of the library tokenizers.
        pad, bos, eos: token behind the end of a text, before its start, and at its end.
        shift: number of the tokenizer's first token. A byte-level BPE has its three special tokens
            before it, so that no text can contain one.
    """

    def __init__(
        self, tokenizer: "Tokenizer", *, pad: int, bos: int, eos: int, shift: int = 0
    ) -> None:
        self._tokenizer = tokenizer
        self.pad, self.bos, self.eos = pad, bos, eos
        self._shift = shift

    @property
    def size(self) -> int:
        """The number of tokens, with the special ones."""
        return int(self._tokenizer.get_vocab_size()) + self._shift

    @cached_property
    def document(self) -> bytes:
        """The content of tokenizer.json."""
        return str(self._tokenizer.to_str()).encode()

    @property
    def sha256(self) -> str:
        """The digest of `document`."""
        return hashlib.sha256(self.document).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without special tokens."""
        short = [text[:MAX_TEXT_CHARACTERS] for text in texts]
        encodings = self._tokenizer.encode_batch(short, add_special_tokens=False)
        return [[token + self._shift for token in encoding.ids] for encoding in encodings]

    def decode(self, tokens: Iterable[Iterable[int]]) -> list[str]:
        """Return the text of each row of tokens; special tokens are left out.

        Bytes that are not UTF-8 become U+FFFD.
        """
        special = {self.pad, self.bos, self.eos}
        rows = [[t - self._shift for t in row if t not in special] for row in tokens]
        return list(self._tokenizer.decode_batch(rows, skip_special_tokens=False))


def train_bpe(texts: Iterable[str], size: int) -> TextCodec:
    """Train a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes: Radford et al. 2019).

    Any text has tokens: a character that training has not seen is encoded by its bytes. The same
    texts in the same order give the same tokens.

    Args:
        texts: the training texts.
        size: maximum number of tokens, without the special ones.
    """
    tokenizers = _import_tokenizers()
    tokenizer = _empty_bpe(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((t[:MAX_TEXT_CHARACTERS] for t in texts), trainer)
    return _bpe_codec(tokenizer)


def read_bpe(data: bytes, path: str) -> TextCodec:
    """Return the byte-level BPE of a tokenizer file.

    Args:
        data: its content.
        path: where it is from, for errors.

    Raises:
        DamagedFileError: it is not one.
    """
    tokenizers = _import_tokenizers()
    rule = f"{path} must be a byte-level BPE"
    try:
        bpe = json_decoder(_Document).decode(data)["model"]
        vocabulary, alphabet = bpe["vocab"], tokenizers.pre_tokenizers.ByteLevel.alphabet()
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError("tokens that are not numbered from 0 on")
        if bpe["type"] != "BPE" or not vocabulary.keys() >= set(alphabet):
            raise ValueError("a vocabulary without all bytes")
        for left, right in bpe["merges"]:
            if not {left, right, left + right} <= vocabulary.keys():
                raise ValueError(f"a merge of unknown tokens {left[:20]!r}, {right[:20]!r}")
        if not set("".join(vocabulary)) <= set(alphabet):
            raise ValueError("a token of other characters than bytes")
        model = tokenizers.models.BPE(vocabulary, bpe["merges"])
    except (msgspec.DecodeError, ValueError, UnicodeError, RecursionError) as error:
        raise DamagedFileError(rule, got=str(error), cure=_CURE) from error
    return _bpe_codec(_empty_bpe(model))


def _bpe_codec(tokenizer: "Tokenizer") -> TextCodec:
    return TextCodec(tokenizer, pad=0, bos=1, eos=2, shift=_SPECIAL)


def _empty_bpe(model: Any) -> "Tokenizer":
    tokenizers = _import_tokenizers()
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def read_pretrained(data: bytes, special: dict[str, int], path: str) -> TextCodec:
    """Return the codec of a language model.

    Args:
        data: its tokenizer.json.
        special: `pad`, `bos` and `eos` → token.
        path: where it is from, for errors.

    Raises:
        DamagedFileError: it is no tokenizer.
    """
    tokenizers = _import_tokenizers()
    try:
        json.loads(data)
        tokenizer = tokenizers.Tokenizer.from_str(data.decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
    except Exception as error:  # the library raises plain exceptions
        rule = f"{path} must be a tokenizer of the library tokenizers"
        raise DamagedFileError(rule, got=str(error)[:200], cure=_CURE) from error
    return TextCodec(tokenizer, **special)


def _import_tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise MmfeatError(
            "the task 'describe' needs the package tokenizers",
            cure="pip install tokenizers",
        ) from error
    return tokenizers
