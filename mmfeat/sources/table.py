"""Tables: CSV, TSV, JSON, JSON lines and Parquet, with columns of media, of texts, or both."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records.keys import file_stem, safe_key
from mmfeat.records.media_ref import Base64Ref, FileRef, MediaRef, ParquetCellRef, TextRef
from mmfeat.records.metadata import to_json_value
from mmfeat.records.modalities import (
    MODALITIES,
    PATH_COLUMNS,
    modality_of_extension,
    modality_of_slot,
)
from mmfeat.records.record import Record
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.digests import digest_of, digest_of_ends
from mmfeat.sources.paths import complete
from mmfeat.sources.rows import Bytes, Row, read_columns, read_rows

_LOOKED_AT = 1000
"""Rows looked at to learn what a column of paths, or of bytes, holds."""

_SLOT = re.compile(r"([A-Za-z0-9_]+)=(.+)", re.DOTALL)

_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{40,}+={0,2}[\r\n]*")
_BASE64_STARTS = (
    "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk0", "Qk1", "Qk2", "SUkq", "TU0AK",  # pictures
    "ZkxhQw", "T2dnUw", "SUQz", "//s", "//u", "Rk9STQ",  # sounds
)  # fmt: skip
"""How base64 of a picture or a sound begins. A path without any dot could look like base64; one
that begins like this as well is none."""


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        path: where it is; its suffix says its form, `.gz` and `.zst` after it are undone.
        root: folder that relative paths of its rows start from.
        metadata: what its place says of all its rows; columns of its own come first.
    """

    path: str
    root: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class TableSource(Source):
    """Records from the rows of a table of one or many files.

    Args:
        files: the table's files.
        options: the columns the user named; others are looked for under conventional names.
    """

    def __init__(self, files: Sequence[TableFile], options: InputOptions) -> None:
        self._files, self._options = files, options
        names: dict[str, None] = {}
        for file in files:
            names |= dict.fromkeys(read_columns(file.path))
        self._all = list(names)
        self._by_slot = self._named_slots() or {}
        self._by_slot |= self._conventional_slots()
        ordered = sorted(self._by_slot, key=lambda slot: list(MODALITIES).index(_modality(slot)))
        self.slots = tuple(ordered)
        if not self.slots:
            raise self._no_column(
                f"no column of pictures, sounds or texts found by its name in {files[0].path}; "
                "name one with --image-column, --audio-column or --text-column",
                None,
            )
        self._plan = [(slot, self._by_slot[slot], _inline(slot)) for slot in self.slots]
        self._sees = set(self._by_slot.values())
        self._media = {c for slot, c in self._by_slot.items() if not _inline(slot)}
        first = next((row for row in self._first_rows() if isinstance(row, dict)), {})
        held = {name for name, value in first.items() if isinstance(value, Bytes)}
        self._left_out = sorted(held - self._sees)
        self.in_order = bool(held & self._sees)
        if options.key_column in held:
            raise MmfeatError("--key-column must hold texts or numbers", got=options.key_column)

    def _named_slots(self) -> dict[str, str]:
        slots: dict[str, str] = {}
        for modality, columns in self._options.columns.items():
            for text in columns:
                match = _SLOT.fullmatch(text)
                alias, column = match.groups() if match and text not in self._all else ("", text)
                if column not in self._all:
                    rule = f"--{modality}-column must name a column of {self._files[0].path}"
                    raise self._no_column(rule, column)
                slot = f"{modality}.{alias}" if alias else modality
                if slot in slots:
                    raise MmfeatError(
                        f"--{modality}-column is given twice for the same part",
                        got=column,
                        cure=f"Name the second part, as in --{modality}-column left={column}",
                    )
                slots[slot] = column
        if self._options.key_column and self._options.key_column not in self._all:
            rule = f"--key-column must name a column of {self._files[0].path}"
            raise self._no_column(rule, self._options.key_column)
        return slots

    def _conventional_slots(self) -> dict[str, str]:
        """Slots of the modalities the user named no column for."""
        folded = {name.casefold(): name for name in reversed(self._all)}
        open_ = [m for m in MODALITIES if not self._options.columns.get(m)]
        found: dict[str, str] = {}
        for name in PATH_COLUMNS[:2]:
            if (modality := self._told_by(folded.get(name), "image")) in open_:
                found.setdefault(str(modality), folded[name])
        for modality in open_:
            names = [folded[name] for name in MODALITIES[modality].columns if name in folded]
            if names:
                found.setdefault(modality, names[0])
        for name in (*PATH_COLUMNS[2:], "url"):
            default = None if "image" in self._by_slot or (found and name != "url") else "image"
            modality = self._told_by(folded.get(name), default)
            if modality in open_:
                found.setdefault(str(modality), folded[name])
        return found

    def _told_by(self, column: str | None, default: str | None) -> str | None:
        """The modality of the paths in a column, by the first extension that is known."""
        if column is None or column in self._by_slot.values():
            return None
        for row in self._first_rows():
            value = row.get(column) if isinstance(row, dict) else None
            if isinstance(value, str) and value:
                path = FileRef(value).name
                known = modality_of_extension(posixpath.splitext(path)[1].removeprefix("."))
                if known:
                    return known
        return default

    def _first_rows(self) -> Iterator[Row]:
        return islice(read_rows(self._files[0].path), _LOOKED_AT)

    def _no_column(self, rule: str, got: str | None) -> MmfeatError:
        close = get_close_matches(got or "", self._all, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return MmfeatError(rule, got=got, cure=f"{hint}Its columns are: {', '.join(self._all)}")

    @property
    def columns(self) -> Sequence[str]:
        """Names of the metadata columns."""
        extra = {name for file in self._files for name in file.metadata}
        return [to_json_value(name) for name in (*self._all, *sorted(extra))]

    def describe(self) -> dict[str, Any]:
        """Columns as resolved, and a digest of each file."""
        digest = digest_of_ends if self.in_order else digest_of
        digests = [digest(file.path) for file in self._files]
        return {
            "form": "table",
            "columns": {slot: self._by_slot[slot] for slot in self.slots},
            "key_column": self._options.key_column,
            "allow_outside": self._options.allow_outside,
            "files": len(digests),
            "sha256": digests[0]
            if len(digests) == 1
            else hashlib.sha256("".join(digests).encode()).hexdigest(),
        }

    def notes(self) -> list[str]:
        """Which columns hold the parts."""
        found = ", ".join(f"{slot} = column {self._by_slot[slot]!r}" for slot in self.slots)
        told = [found + (f" of {len(self._files)} files" if len(self._files) > 1 else "")]
        if self._left_out:
            names = ", ".join(self._left_out)
            told.append(f"columns of bytes that are no part of a record are left out: {names}")
        return told

    def records(self) -> Iterator[Record]:
        """One record a row; a line that cannot be parsed is a record with a problem."""
        row = 0
        for file in self._files:
            for number, values in enumerate(read_rows(file.path)):
                if isinstance(values, str):
                    detail = f"{posixpath.basename(file.path)}: {values}"
                    yield Record(row, "", problems={"": ("malformed_row", detail)})
                else:
                    try:
                        record = self._record(row, number, values, file)
                    except RecursionError:
                        detail = f"{posixpath.basename(file.path)}: nested too deeply"
                        record = Record(row, "", problems={"": ("malformed_row", detail)})
                    yield record
                row += 1

    def _record(self, row: int, number: int, values: Mapping[str, Any], file: TableFile) -> Record:
        parts: dict[str, MediaRef] = {}
        problems: dict[str, tuple[str, str]] = {}
        for slot, column, inline in self._plan:
            value = values.get(column)
            if value is None or value == "":
                continue
            try:
                part = _text(value, column) if inline else self._part(value, file, number, column)
            except RecordError as error:
                problems[slot] = (error.reason, error.detail)
            else:
                if part is not None:
                    parts[slot] = part
        metadata = dict(file.metadata)
        for name, value in values.items():
            if name not in self._sees:
                if not isinstance(value, Bytes):
                    metadata[name if name.isascii() else to_json_value(name)] = to_json_value(value)
            elif (kept := self._kept(name, value)) is not None:
                metadata[name if name.isascii() else to_json_value(name)] = kept
        return Record(row, self._key(values, parts), parts, metadata, problems)

    def _kept(self, column: str, value: Any) -> Any:
        """What of a part's cell goes into the metadata: paths, never contents."""
        if column not in self._media:
            return None
        if isinstance(value, Bytes):
            return value.path
        if isinstance(value, dict):
            return to_json_value(value.get("path"))
        inside = isinstance(value, str) and (value.startswith("data:") or _is_base64(value))
        return None if inside else to_json_value(value)

    def _part(self, value: Any, file: TableFile, number: int, column: str) -> MediaRef | None:
        if isinstance(value, Bytes):
            return self._cell(value.path or "", file, number, column)
        if isinstance(value, dict):
            if isinstance(value.get("bytes"), str):
                return Base64Ref(value["bytes"], str(value.get("path") or ""))
            value = value.get("path")
            if value is None:
                return None
        _require_string(value, column)
        if value.startswith("data:"):
            head, _, content = value.partition(",")
            if not head.endswith(";base64"):
                raise RecordError("undecodable", f"column {column!r}: a data URL without base64")
            return Base64Ref(content)
        if _is_base64(value):
            return Base64Ref(value)
        return FileRef(complete(file.root, value, allow_outside=self._options.allow_outside))

    def _cell(self, path: str, file: TableFile, number: int, column: str) -> ParquetCellRef:
        """A cell of bytes; where it has none after all, `path` is read, unless it leads outside."""
        there = ""
        if path:
            with suppress(RecordError):
                there = complete(file.root, path, allow_outside=self._options.allow_outside)
        return ParquetCellRef(file.path, number, column, path, there)

    def _key(self, row: Mapping[str, Any], parts: Mapping[str, MediaRef]) -> str:
        if self._options.key_column:
            value = row.get(self._options.key_column)
            return "" if value is None else safe_key(str(value))
        name = next((part.name for part in parts.values() if part.name), "")
        return safe_key(file_stem(name))


def _modality(slot: str) -> str:
    return modality_of_slot(slot) or slot


def _inline(slot: str) -> bool:
    return MODALITIES[_modality(slot)].inline


def _is_base64(value: str) -> bool:
    return value.startswith(_BASE64_STARTS) and bool(_BASE64.fullmatch(value))


def _text(value: Any, column: str) -> TextRef:
    _require_string(value, column)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RecordError("undecodable", f"column {column!r} is not UTF-8") from None
    return TextRef(value)


def _require_string(value: Any, column: str) -> None:
    if not isinstance(value, str):
        detail = f"column {column!r} holds {type(value).__name__}, not a string"
        raise RecordError("undecodable", detail)
