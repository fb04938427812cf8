"""Where the bytes of one part of a record are, before they are read.

A plan holds parts by the million, so a part is a reference: a text and a base64 string travel by
value, everything else by where it stands.
"""

import posixpath
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a table's cell."""

    value: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file of its own; `path` is complete, a URL or a local path."""

    path: str
    size: int | None = None

    @property
    def name(self) -> str:
        """What key and extension are taken from."""
        return self.path.split("?", 1)[0] if "://" in self.path else self.path


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar: `size` bytes at `offset`."""

    tar: str
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a Parquet table: bytes, or Hugging Face's struct of bytes and path.

    `path` is where the file is, if the struct turns out to have no bytes.
    """

    table: str
    row: int
    column: str
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Base64:
    """Bytes written as base64 in a table's cell."""

    value: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes themselves; what a cell becomes when its turn has come. Never in a plan."""

    data: bytes
    name: str = ""


Part = Text | File | Member | Cell | Base64 | Content

_FORMS = {form.__name__: form for form in (Text, File, Member, Cell, Base64)}
_FIELDS = {name: [field.name for field in fields(form)] for name, form in _FORMS.items()}


def dump_part(part: Part) -> list[Any]:
    """A part as JSON can hold it."""
    form = type(part)
    return [form.__name__, *[getattr(part, name) for name in _FIELDS[form.__name__]]]


def load_part(fields: list[Any]) -> Part:
    """The inverse of `dump_part`."""
    form, *values = fields
    part: Part = _FORMS[form](*values)
    return part


def size_of(part: Part) -> int | None:
    """Bytes of the part, as far as they are known before it is read."""
    match part:
        case Text(value):
            return len(value.encode(errors="surrogatepass"))
        case Base64(value):
            return len(value) * 3 // 4
        case File(_, size) | Member(_, _, _, size):
            return size
        case Content(data):
            return len(data)
    return None


def extension_of(part: Part) -> str:
    """The extension of its name, lower case, without the dot; empty where it has none."""
    return posixpath.splitext(part.name)[1].removeprefix(".").lower()
