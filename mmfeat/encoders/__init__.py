"""Encoders by scheme. A new one is one file here and one line in `SCHEMES`.

The file has a function `load(name, modality, options, settings)` that gives an `Encoder`.
"""

import importlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import parse_qsl

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.registry import BUILTIN
from mmfeat.encoders.options import Options
from mmfeat.encoders.settings import Precision, Settings
from mmfeat.errors import MmfeatError
from mmfeat.features.store import SAMPLES
from mmfeat.records.modalities import MODALITIES
from mmfeat.store.directory import digest

__all__ = [
    "SCHEMES",
    "Encoder",
    "EncoderSpec",
    "Options",
    "Precision",
    "Settings",
    "builtin_for",
    "fingerprint",
]

SCHEMES = {
    "builtin": "mmfeat.encoders.builtin.registry",
    "embedding": "mmfeat.encoders.embedding",
    "hf": "mmfeat.encoders.hf.load",
    "open_clip": "mmfeat.encoders.open_clip.image",
    "rnn": "mmfeat.encoders.rnn",
    "st": "mmfeat.encoders.st",
    "timm": "mmfeat.encoders.timm_models",
    "torch": "mmfeat.encoders.torch_export",
}
"""Scheme → module, loaded only when used."""

_FORM = re.compile(r"(?P<column>[\w-]+)(:(?P<modality>\w+))?=(?P<scheme>\w+):(?P<name>.+)")


@dataclass(frozen=True)
class EncoderSpec:
    """What `--encoder COLUMN[:MODALITY]=SCHEME:NAME[?option=value&…]` asks for.

    Attributes:
        column: name of the feature column.
        modality: what it encodes; the column's name says it where it is one.
        scheme: how the encoder is loaded.
        name: which one, in the words of the scheme.
        options: the encoder's own options.
        dtype: what features are kept in, `float16` or `float32`.
        normalize: whether each vector is brought to length 1.
    """

    column: str
    modality: str
    scheme: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    dtype: str = "float16"
    normalize: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the flag's value.

        Raises:
            MmfeatError: not of that form, no such scheme or modality.
        """
        whole, _, query = text.partition("?")
        found = _FORM.fullmatch(whole)
        if not found:
            raise MmfeatError(
                "--encoder must be of the form COLUMN=SCHEME:NAME, or COLUMN:MODALITY=SCHEME:NAME",
                got=text,
            )
        column, scheme = found["column"], found["scheme"]
        if column == SAMPLES:
            raise MmfeatError(f"a column must not be called {SAMPLES!r}: the table of samples is")
        if scheme not in SCHEMES:
            close = get_close_matches(scheme, SCHEMES, n=1)
            raise MmfeatError(
                "--encoder must name an encoder there is",
                got=f"{scheme}:{found['name']}",
                cure=f"Did you mean {close[0]}:? " if close else f"There are: {_schemes()}",
            )
        values = dict(parse_qsl(query, keep_blank_values=True))
        common = Options(text, {k: values.pop(k) for k in ("dtype", "normalize") if k in values})
        return cls(
            column=column,
            modality=_modality(column, found["modality"], scheme, found["name"]),
            scheme=scheme,
            name=found["name"],
            options=tuple(values.items()),
            dtype=common.text("dtype", "float16", ("float16", "float32")),
            normalize=common.flag("normalize"),
        )

    def load(self, settings: Settings | None = None) -> Encoder:
        """Make the encoder.

        Raises:
            MmfeatError: no such encoder, an option it does not have, a package that is missing.
        """
        module = importlib.import_module(SCHEMES[self.scheme])
        options = Options(f"{self.scheme}:{self.name}", dict(self.options))
        encoder: Encoder = module.load(self.name, self.modality, options, settings or Settings())
        options.done()
        return encoder


def _modality(column: str, modality: str | None, scheme: str, name: str) -> str:
    """What a column encodes: as said, or as its name, or the built-in encoder's, tells."""
    known = modality or (column if column in MODALITIES else "")
    if not known and scheme == "builtin":
        known = name
    if known not in MODALITIES:
        raise MmfeatError(
            f"--encoder must say what column {column!r} encodes: {', '.join(MODALITIES)}",
            got=known or None,
            cure=f"Write it as in {column}:text={scheme}:{name}",
        )
    return known


def _schemes() -> str:
    return ", ".join(f"{scheme}:" for scheme in SCHEMES)


def builtin_for(modality: str) -> EncoderSpec | None:
    """The built-in encoder of a modality, as a column of the modality's name."""
    return EncoderSpec(modality, modality, "builtin", modality) if modality in BUILTIN else None


def fingerprint(identity: dict[str, Any]) -> str:
    """The identity of a column as one hash: same fingerprint, same vectors."""
    return digest(identity)
