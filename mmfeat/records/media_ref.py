"""References to the media of a record: where the bytes are, before they are read.

A plan holds millions of references. Texts and base64 strings are stored by value, everything else
by location.
"""

import posixpath
from dataclasses import dataclass, fields
from typing import Any

from mmfeat.system import is_url


@dataclass(frozen=True, slots=True)
class TextRef:
    """A text from a table cell, by value."""

    value: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file; `path` is a complete local path or a URL."""

    path: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The path without the query of a URL; key and extension come from it."""
        return self.path.split("?", 1)[0] if is_url(self.path) else self.path


@dataclass(frozen=True, slots=True)
class TarMemberRef:
    """A member of a tar: `size` bytes at `offset`."""

    tar: str
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class ParquetCellRef:
    """A cell of a Parquet table: bytes, or Hugging Face's struct of bytes and path.

    `path` is the complete path of the file to read if the struct has no bytes.
    """

    table: str
    row: int
    column: str
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Base64Ref:
    """Bytes as a base64 string from a table cell, by value."""

    value: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class BytesRef:
    """Bytes in memory: a Parquet cell after it was read. Never part of a plan."""

    data: bytes
    name: str = ""


MediaRef = TextRef | FileRef | TarMemberRef | ParquetCellRef | Base64Ref | BytesRef

_JSON_NAMES: dict[type, str] = {
    TextRef: "Text",
    FileRef: "File",
    TarMemberRef: "Member",
    ParquetCellRef: "Cell",
    Base64Ref: "Base64",
}
"""Type → its name in plan files. Part of the file format: independent of the class names."""

_TYPES = {name: type_ for type_, name in _JSON_NAMES.items()}
_FIELDS = {type_: [field.name for field in fields(type_)] for type_ in _JSON_NAMES}


def ref_to_json(ref: MediaRef) -> list[Any]:
    """Return a reference as a JSON-ready list: the name of its type, then its fields."""
    type_ = type(ref)
    return [_JSON_NAMES[type_], *[getattr(ref, name) for name in _FIELDS[type_]]]


def ref_from_json(values: list[Any]) -> MediaRef:
    """Invert `ref_to_json`."""
    name, *arguments = values
    ref: MediaRef = _TYPES[name](*arguments)
    return ref


def known_size(ref: MediaRef) -> int | None:
    """Return the number of bytes, or None if it is unknown before reading."""
    match ref:
        case TextRef(value):
            return len(value.encode(errors="surrogatepass"))
        case Base64Ref(value):
            return len(value) * 3 // 4
        case FileRef(_, size) | TarMemberRef(_, _, _, size):
            return size
        case BytesRef(data):
            return len(data)
    return None


def is_remote(ref: MediaRef) -> bool:
    """Return whether the bytes are a file on a server."""
    return isinstance(ref, FileRef) and is_url(ref.path)


def ref_extension(ref: MediaRef) -> str:
    """Return the extension of the name in lower case, without the dot; empty if it has none."""
    return posixpath.splitext(ref.name)[1].removeprefix(".").lower()
