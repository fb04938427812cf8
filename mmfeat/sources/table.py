"""Tables: CSV, TSV, JSON lines and Parquet, with a column of paths, of texts, or both."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.keys import safe_key, stem
from mmfeat.metadata import plain
from mmfeat.modalities import MODALITIES, Modality
from mmfeat.sample import Part, Record
from mmfeat.sources.base import Source
from mmfeat.sources.rows import read_columns, read_rows


@dataclass
class TableSource(Source):
    """Records from the rows of a table.

    Args:
        path: the table; its suffix says its form, `.gz` and `.zst` after it are undone.
        columns: modality → column, for those the user named; the others are looked for under
            their conventional names.
        key_column: column of keys; empty to take them from the file stems.
    """

    path: str
    columns: Mapping[str, str]
    key_column: str = ""

    def __post_init__(self) -> None:
        self.root = posixpath.dirname(self.path) or "."
        self._all = read_columns(self.path)
        named = {f"--{name}-column": column for name, column in self.columns.items() if column}
        if self.key_column:
            named["--key-column"] = self.key_column
        for flag, column in named.items():
            if column not in self._all:
                raise self._no_column(f"{flag} must name a column of {self.path}", column)
        found = {
            name: self.columns.get(name) or self._conventional(modality)
            for name, modality in MODALITIES.items()
        }
        self._by_modality = {name: column for name, column in found.items() if column}
        self.modalities = tuple(self._by_modality)
        if not self.modalities:
            raise self._no_column(
                f"no column of pictures or texts found by its name in {self.path}; "
                "name one with --image-column or --text-column",
                None,
            )

    def _conventional(self, modality: Modality) -> str | None:
        folded = {name.casefold(): name for name in reversed(self._all)}
        return next((folded[name] for name in modality.columns if name in folded), None)

    def _no_column(self, rule: str, got: str | None) -> MmfeatError:
        close = get_close_matches(got or "", self._all, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return MmfeatError(rule, got=got, cure=f"{hint}Its columns are: {', '.join(self._all)}")

    def describe(self) -> dict[str, Any]:
        """Columns as resolved, and the sha256 of the table's bytes."""
        total = hashlib.sha256()
        with storage.open_input(self.path) as file:
            while block := file.read(1 << 20):
                total.update(block)
        return {
            "form": "table",
            "columns": self._by_modality,
            "key_column": self.key_column,
            "sha256": total.hexdigest(),
        }

    def notes(self) -> list[str]:
        """Which columns hold the parts."""
        found = ", ".join(f"{name} = column {c!r}" for name, c in self._by_modality.items())
        absent = [name for name in MODALITIES if name not in self._by_modality]
        return [f"{found}" + "".join(f"; no column of {name} found" for name in absent)]

    def records(self) -> Iterator[Record]:
        """One record a row; a line that cannot be parsed is a record with a problem."""
        for number, row in enumerate(read_rows(self.path)):
            if isinstance(row, str):
                yield Record(number, "", problems={"": ("malformed_row", row)})
            else:
                yield self._record(number, row)

    def _record(self, number: int, row: Mapping[str, Any]) -> Record:
        parts: dict[str, Part] = {}
        problems: dict[str, tuple[str, str]] = {}
        for name, column in self._by_modality.items():
            value = row.get(column)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                detail = f"column {column!r} holds {type(value).__name__}, not a string"
                problems[name] = ("undecodable", detail)
            elif MODALITIES[name].inline:
                try:
                    value.encode()
                    parts[name] = Part(value=value)
                except UnicodeEncodeError:
                    problems[name] = ("undecodable", f"column {column!r} is not UTF-8")
            else:
                parts[name] = Part(path=value)
        inline = {c for name, c in self._by_modality.items() if MODALITIES[name].inline}
        metadata = {name: plain(value) for name, value in row.items() if name not in inline}
        return Record(number, self._key(row, parts), parts, metadata, problems)

    def _key(self, row: Mapping[str, Any], parts: Mapping[str, Part]) -> str:
        if self.key_column:
            value = row.get(self.key_column)
            return "" if value is None else safe_key(str(value))
        path = next((part.path for part in parts.values() if part.path), "")
        return safe_key(stem(path))
