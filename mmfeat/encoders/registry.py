"""The encoder schemes, and the `--encoder` flag.

To add a scheme, write a module with a function `load(name, modality, options, settings)` that
returns an `Encoder`, and add one line to `SCHEMES`.
"""

import importlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import parse_qsl

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.load import BUILTIN
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.errors import MmfeatError
from mmfeat.features.store import SAMPLES
from mmfeat.records.modalities import MODALITIES
from mmfeat.store.directory import json_digest

SCHEMES = {
    "builtin": "mmfeat.encoders.builtin.load",
    "embedding": "mmfeat.encoders.words.embedding",
    "hf": "mmfeat.encoders.hf.load",
    "open_clip": "mmfeat.encoders.open_clip.load",
    "rnn": "mmfeat.encoders.words.rnn",
    "st": "mmfeat.encoders.st",
    "timm": "mmfeat.encoders.timm",
    "torch": "mmfeat.encoders.torch_export",
}
"""Scheme → module. A module is imported when its scheme is first used."""

_PATTERN = re.compile(r"(?P<column>[\w-]+)(:(?P<modality>\w+))?=(?P<scheme>\w+):(?P<name>.+)")


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed flag `--encoder COLUMN[:MODALITY]=SCHEME:NAME[?option=value&…]`.

    Attributes:
        column: name of the feature column.
        modality: input of the encoder. Optional if the column is named after its modality.
        scheme: a key of `SCHEMES`.
        name: name of the encoder within its scheme.
        options: options of the encoder.
        dtype: type of the stored features, `float16` or `float32`.
        normalize: scale each vector to length 1.
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
        """Parse the value of the flag.

        Raises:
            MmfeatError: wrong form, or unknown scheme or modality.
        """
        target, _, query = text.partition("?")
        match = _PATTERN.fullmatch(target)
        if not match:
            raise MmfeatError(
                "--encoder must be of the form COLUMN=SCHEME:NAME, or COLUMN:MODALITY=SCHEME:NAME",
                got=text,
            )
        column, scheme = match["column"], match["scheme"]
        if column == SAMPLES:
            raise MmfeatError(f"a column must not be called {SAMPLES!r}: the samples table has it")
        if scheme not in SCHEMES:
            close = get_close_matches(scheme, SCHEMES, n=1)
            known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
            raise MmfeatError(
                "--encoder must name a known scheme",
                got=f"{scheme}:{match['name']}",
                cure=f"Did you mean {close[0]}:?" if close else f"Schemes: {known}",
            )
        values = dict(parse_qsl(query, keep_blank_values=True))
        common_names = [name for name in ("dtype", "normalize") if name in values]
        common = EncoderOptions(text, {name: values.pop(name) for name in common_names})
        return cls(
            column=column,
            modality=_modality(column, match["modality"], scheme, match["name"]),
            scheme=scheme,
            name=match["name"],
            options=tuple(values.items()),
            dtype=common.get_text("dtype", "float16", ("float16", "float32")),
            normalize=common.get_flag("normalize"),
        )

    def load(self, settings: Settings | None = None) -> Encoder:
        """Load the encoder.

        Raises:
            MmfeatError: unknown encoder or option, or a missing package.
        """
        module = importlib.import_module(SCHEMES[self.scheme])
        options = EncoderOptions(f"{self.scheme}:{self.name}", dict(self.options))
        encoder: Encoder = module.load(self.name, self.modality, options, settings or Settings())
        options.reject_unknown()
        return encoder


def _modality(column: str, modality: str | None, scheme: str, name: str) -> str:
    """Return the given modality, else the one that the column or built-in encoder is named after.

    Raises:
        MmfeatError: no known modality.
    """
    result = modality or (column if column in MODALITIES else "")
    if not result and scheme == "builtin":
        result = name
    if result not in MODALITIES:
        raise MmfeatError(
            f"--encoder must name the modality of column {column!r}: {', '.join(MODALITIES)}",
            got=result or None,
            cure=f"Write it as in {column}:text={scheme}:{name}",
        )
    return result


def builtin_for(modality: str) -> EncoderSpec | None:
    """Return the built-in encoder of a modality, for a column named after the modality."""
    return EncoderSpec(modality, modality, "builtin", modality) if modality in BUILTIN else None


def fingerprint(identity: dict[str, Any]) -> str:
    """Hash the identity of a column. Columns with the same fingerprint have the same vectors."""
    return json_digest(identity)
