"""Encoders by name. A new one is one file here and one line in `ENCODERS`."""

import importlib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import parse_qsl

from mmfeat.encoders.base import Encoder
from mmfeat.errors import MmfeatError
from mmfeat.features import SAMPLES
from mmfeat.store import digest

__all__ = ["ENCODERS", "Encoder", "EncoderSpec", "builtin_for", "fingerprint"]

ENCODERS = {
    "builtin:image": "mmfeat.encoders.builtin_image:ImageDescriptor",
    "builtin:text": "mmfeat.encoders.builtin_text:TextNgrams",
}
"""Name → module and class, loaded only when used."""


@dataclass(frozen=True)
class EncoderSpec:
    """What `--encoder COLUMN=SCHEME:NAME[?option=value&…]` asks for."""

    column: str
    name: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the flag's value.

        Raises:
            MmfeatError: not of that form, or no such encoder.
        """
        column, equals, encoder = text.partition("=")
        name, _, options = encoder.partition("?")
        if not equals or not column.replace("_", "").replace("-", "").isalnum():
            raise MmfeatError("--encoder must be of the form COLUMN=SCHEME:NAME", got=text)
        if column == SAMPLES:
            raise MmfeatError(f"a column must not be called {SAMPLES!r}: the table of samples is")
        if name not in ENCODERS:
            close = get_close_matches(name, ENCODERS, n=1, cutoff=0.4)
            raise MmfeatError(
                "--encoder must name an encoder there is",
                got=name,
                cure=f"Did you mean {close[0]}?" if close else f"There are: {', '.join(ENCODERS)}",
            )
        return cls(column, name, tuple(parse_qsl(options, keep_blank_values=True)))

    def load(self) -> Encoder:
        """Make the encoder.

        Raises:
            MmfeatError: an option it does not have, or a value that does not fit.
        """
        module, _, name = ENCODERS[self.name].partition(":")
        kind = getattr(importlib.import_module(module), name)
        try:
            encoder: Encoder = kind(**{option: _value(text) for option, text in self.options})
        except TypeError as error:
            raise MmfeatError(f"{self.name} does not take these options: {error}") from error
        return encoder


def builtin_for(modality: str) -> EncoderSpec | None:
    """The built-in encoder of a modality, as a column of the modality's name."""
    name = f"builtin:{modality}"
    return EncoderSpec(modality, name) if name in ENCODERS else None


def fingerprint(identity: dict[str, Any]) -> str:
    """The identity of a column as one hash: same fingerprint, same vectors."""
    return digest(identity)


def _value(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text
