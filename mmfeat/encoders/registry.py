"""The encoder schemes, and the `--encoder` flag.

To add a scheme, write a module with a function `load(name, modality, options, settings)` that
returns an `Encoder`, and add one line to `SCHEMES`. Other packages name such a function as an entry
point of the group `mmfeat.encoders`, or the user names it: `COLUMN=MODULE:FUNCTION`.
"""

import importlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlencode

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.load import BUILTIN
from mmfeat.encoders.plugin_checks import one_line_errors
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.errors import MmfeatError, suggest
from mmfeat.features import COLUMNS, SAMPLES
from mmfeat.plugins import Registry, can_import, import_object, is_path
from mmfeat.records import MODALITIES, modality_of_slot, slot_column
from mmfeat.store import json_digest

SCHEMES: Registry[Any] = Registry(
    "mmfeat.encoders",
    {
        "builtin": "mmfeat.encoders.builtin.load",
        "embedding": "mmfeat.encoders.words.embedding",
        "hf": "mmfeat.encoders.hf.load",
        "open_clip": "mmfeat.encoders.open_clip.load",
        "rnn": "mmfeat.encoders.words.rnn",
        "st": "mmfeat.encoders.st",
        "timm": "mmfeat.encoders.timm",
        "torch": "mmfeat.encoders.torch_export",
    },
)
"""Scheme → module, imported when its scheme is first used. Of a plug-in: its function `load`."""

_PATTERN = re.compile(
    r"(?P<column>[\w-]+|\w+\.[^:=/\\]+)(:(?P<slot>[^=]+))?=(?P<scheme>[\w.]+):(?P<name>.+)"
)


@dataclass(frozen=True)
class EncoderSpec:
    """A parsed flag `--encoder COLUMN[:SLOT]=SCHEME:NAME[?option=value&…]`.

    Attributes:
        column: name of the feature column.
        modality: input of the encoder. Optional if the column is named after it.
        scheme: a key of `SCHEMES`.
        name: name of the encoder within its scheme.
        options: options of the encoder.
        dtype: type of the stored features, `float16` or `float32`.
        normalize: scale each vector to length 1.
        slot: the part of a record that the encoder reads, such as `text.desc`. Empty = not named;
            `bind` finds it.
    """

    column: str
    modality: str
    scheme: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    dtype: str = "float16"
    normalize: bool = False
    slot: str = ""

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
                "--encoder must be of the form COLUMN=SCHEME:NAME, COLUMN:SLOT=SCHEME:NAME or "
                "COLUMN:MODALITY=SCHEME:NAME",
                got=text,
                cure=f"Write it as in image=builtin:image. {_list_schemes()}",
            )
        scheme = match["scheme"]
        modality, slot = _parse_slot(match["column"], match["slot"], scheme, match["name"])
        column = slot_column(match["column"])
        if column in (SAMPLES, COLUMNS):
            raise MmfeatError(f"a column must not be called {column!r}: the store has that folder")
        if scheme not in SCHEMES and not (
            is_path(f"{scheme}:{match['name']}") and can_import(scheme)
        ):
            close = suggest(scheme, SCHEMES)
            raise MmfeatError(
                "--encoder must name a known scheme",
                got=f"{scheme}:{match['name']}",
                cure=f"Did you mean {close}:?" if close else _list_schemes(scheme, match["name"]),
            )
        values = dict(parse_qsl(query, keep_blank_values=True))
        common_names = [name for name in ("dtype", "normalize") if name in values]
        common = EncoderOptions(text, {name: values.pop(name) for name in common_names})
        return cls(
            column=column,
            modality=modality,
            scheme=scheme,
            name=match["name"],
            options=tuple(values.items()),
            dtype=common.get_text("dtype", "float16", ("float16", "float32")),
            normalize=common.get_flag("normalize"),
            slot=slot,
        )

    @property
    def flag(self) -> str:
        """The value of the flag that `parse` reads to this spec."""
        common = {"dtype": self.dtype} if self.dtype != "float16" else {}
        common |= {"normalize": "1"} if self.normalize else {}
        query = urlencode({**dict(self.options), **common})
        target = f"{self.column}:{self.slot or self.modality}={self.scheme}:{self.name}"
        return f"{target}?{query}" if query else target

    def bind(self, slots: Sequence[str]) -> Self:
        """Return the spec with the slot it reads.

        A flag that names only a modality means its single slot. If the modality has several, a
        column named after the modality means the slot of that name.

        Args:
            slots: slots of the shards.

        Raises:
            MmfeatError: the shards lack the slot, or have several slots of the modality.
        """
        known = [slot for slot in slots if modality_of_slot(slot) == self.modality]
        named = self.slot or (self.column if self.column == self.modality else "")
        if matches := [slot for slot in known if slot.lower() == named.lower()]:
            return replace(self, slot=matches[0])
        if len(known) == 1 and not self.slot:
            return replace(self, slot=known[0])
        if self.slot or not known:
            raise MmfeatError(
                f"column {self.column} needs {self.slot or self.modality}, but the shards have "
                f"only {', '.join(slots)}",
                cure="Name an encoder of these",
            )
        forms = [_slot_flag(self.column, slot) for slot in known]
        raise MmfeatError(
            f"the shards have several slots of {self.modality} ({', '.join(known)}), and column "
            f"{self.column} must read one of them",
            cure=f"Write {' or '.join(forms)}",
        )

    def with_absolute_paths(self) -> Self:
        """Return the spec with its files named so that other folders find them, too.

        A name may be a path, `ARCHITECTURE/PATH` or `local-dir:PATH`, and so may an option.
        """
        if not self.is_own or self.scheme == "builtin":
            return self
        options = tuple((name, _absolute(value)) for name, value in self.options)
        return replace(self, name=_absolute_name(self.scheme, self.name), options=options)

    def at_revision(self, revision: str) -> Self:
        """Return the spec of a checkpoint on the hub at a revision; others stay as they are."""
        of_hub = self.scheme in ("hf", "st") and not os.path.isabs(self.name)
        if not of_hub or not revision or "@" in self.name:
            return self
        return replace(self, name=f"{self.name}@{revision}")

    def load(self, settings: Settings | None = None) -> Encoder:
        """Load the encoder.

        Raises:
            MmfeatError: unknown encoder or option, a missing package, or a plug-in that fails.
        """
        options = EncoderOptions(f"{self.scheme}:{self.name}", dict(self.options))
        load = self._find_function()
        if not self.is_own:
            load = one_line_errors(load, f"--encoder {self.column}={self.scheme}:{self.name}")
        encoder = load(self.name, self.modality, options, settings or Settings())
        options.reject_unknown()
        return encoder

    @property
    def module(self) -> str:
        """The module that worker processes need."""
        if self.scheme not in SCHEMES:
            return self.scheme
        found = SCHEMES[self.scheme]
        return found if isinstance(found, str) else str(found.__module__)

    @property
    def is_own(self) -> bool:
        """Whether mmfeat itself has the scheme. A notebook or a plug-in registers a function."""
        return isinstance(SCHEMES.own.get(self.scheme), str)

    def _find_function(self) -> Callable[..., Encoder]:
        if self.scheme not in SCHEMES:
            return cast(Callable[..., Encoder], import_object(f"{self.scheme}:{self.name}"))
        found = SCHEMES[self.scheme]
        function = importlib.import_module(found).load if isinstance(found, str) else found
        return cast(Callable[..., Encoder], function)


_LOCAL_DIR = "local-dir:"


def _absolute_name(scheme: str, name: str) -> str:
    if name.startswith(_LOCAL_DIR):
        return _LOCAL_DIR + _absolute(name.removeprefix(_LOCAL_DIR))
    if scheme in ("open_clip", "timm"):
        architecture, slash, path = name.partition("/")
        return f"{architecture}{slash}{_absolute(path)}"
    return _absolute(name)


def _absolute(text: str) -> str:
    """Return the absolute path of a file or a folder; other texts stay as they are."""
    return os.path.abspath(text) if text and os.path.exists(text) else text


def _parse_slot(column: str, given: str | None, scheme: str, name: str) -> tuple[str, str]:
    """Return modality and slot of a flag; the slot is empty if only the modality is named.

    Without a given one, they come from the name of the column, or of the built-in encoder.

    Raises:
        MmfeatError: no known modality.
    """
    text = given or (column if modality_of_slot(column) else "")
    if not text and scheme == "builtin":
        text = BUILTIN.get(name, name)
    modality = modality_of_slot(text)
    if modality is None or ("." in column and column != text):
        raise MmfeatError(
            f"--encoder must name the modality of column {column!r}: {', '.join(MODALITIES)}",
            got=text or None,
            cure=f"Write it as in {slot_column(column)}:text={scheme}:{name}",
        )
    if text == modality:
        return modality, ""
    # `text.`: the slot `text`, whose name is empty, although there are others.
    return modality, modality if text == f"{modality}." else text


def _list_schemes(module: str = "", name: str = "") -> str:
    listed = f"Schemes: {', '.join(f'{scheme}:' for scheme in SCHEMES)}"
    if not is_path(f"{module}:{name}"):
        return listed
    return f"{listed}. If {module} is a module of yours, add its folder to PYTHONPATH"


def _slot_flag(column: str, slot: str) -> str:
    return f"{column}:{slot if '.' in slot else f'{slot}.'}=…"


def builtin_for(slot: str) -> EncoderSpec | None:
    """Return the built-in encoder of a slot, for a column named after the slot."""
    modality = modality_of_slot(slot)
    if modality not in BUILTIN:
        return None
    name = "" if slot == modality else slot
    return EncoderSpec(slot_column(slot), modality, "builtin", modality, slot=name)


def fingerprint(identity: dict[str, Any]) -> str:
    """Hash the identity of a column. Columns with the same fingerprint have the same vectors."""
    return json_digest(identity)
