"""Tables as input: CSV, TSV, JSON, JSON lines and Parquet, with columns of media or texts."""

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records import (
    MODALITIES,
    Base64Ref,
    FileRef,
    MediaRef,
    ParquetCellRef,
    Record,
    TextRef,
    check_text_size,
    clean_metadata,
    file_stem,
    is_missing,
    is_utf8,
    key_text,
    modality_of_slot,
    safe_key,
    to_json_value,
)
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.digests import file_ends_sha256, file_sha256
from mmfeat.sources.formats import OversizedRow, Row, UnreadBytes
from mmfeat.sources.table_columns import ColumnFinder
from mmfeat.sources.table_formats import open_table, read_rows
from mmfeat.system import is_url

_SNIFFED_ROWS = 1000
"""Rows of each column that are read to find out whether it contains files."""

_MAX_PATH_CHARACTERS = 1 << 16
"""Limit of a path or URL, above that of file systems and servers."""

_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{40,}+={0,2}[\r\n]*")
_BASE64_STARTS = (
    "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk0", "Qk1", "Qk2", "SUkq", "TU0AK",  # images
    "ZkxhQw", "T2dnUw", "SUQz", "//s", "//u", "Rk9STQ",  # audio
)  # fmt: skip
"""First characters of base64 of an image or audio file. A path without a dot may look like base64,
but hardly begins like one of these."""


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        path: the file; its suffix gives the format, `.gz` and `.zst` are decompressed.
        root: folder that relative paths in its rows start from.
        metadata: metadata for all its rows; its own columns take precedence.
    """

    path: str
    root: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class TableSource(Source):
    """Records from the rows of a table in one or many files.

    Args:
        files: the files of the table.
        options: the columns that the user named; others are found by conventional names.
    """

    other_files = "that no row names"

    def __init__(self, files: Sequence[TableFile], options: InputOptions) -> None:
        self._files, self._options = files, options
        self._policy = options.read_policy
        self.media_folders = tuple(sorted({file.root for file in files}))
        self._tables = [open_table(file.path) for file in files]
        nested_bytes = {name for table in self._tables for name in table.nested_bytes}
        names = dict.fromkeys(name for table in self._tables for name in table.columns)
        readable = [name for name in names if name not in nested_bytes]
        self._text_columns: set[str] = set()
        finder = ColumnFinder(files[0].path, readable, options, self._all_rows, nested_bytes)
        self._columns = finder.find()
        self._hints = finder.hints(self._columns)
        self.slots = tuple(self._columns)
        self._cells = [(slot, name, _is_inline(slot)) for slot, name in self._columns.items()]
        self._media_columns = {name for _, name, inline in self._cells if not inline}
        self._part_columns = {*self._columns.values()}
        self._text_columns = self._part_columns - self._media_columns | {options.key_column}
        bytes_columns = {n for table in self._tables for n in table.bytes_columns}
        used_columns = self._part_columns | self._text_columns
        self._ignored_columns = bytes_columns - used_columns | nested_bytes
        self.in_order = bool(bytes_columns & self._media_columns)
        for row in self._first_rows():
            if not isinstance(row, dict):
                continue
            if isinstance(row.get(options.key_column), UnreadBytes):
                raise MmfeatError("--key-column must hold texts or numbers", got=options.key_column)
            self._ignored_columns |= {
                name for name, value in row.items() if name not in used_columns and _is_media(value)
            }

    def _all_rows(self) -> Iterator[Row]:
        return chain.from_iterable(read_rows(table, self._text_columns) for table in self._tables)

    def _first_rows(self) -> Iterator[Row]:
        """Yield the first rows of each column, which may begin in any file."""
        numbers: Counter[str] = Counter()
        for table in self._tables:
            missing = _SNIFFED_ROWS - min(numbers[name] for name in table.columns)
            for row in islice(read_rows(table, self._text_columns), max(0, missing)):
                numbers.update(table.columns)
                yield row

    def describe(self) -> dict[str, Any]:
        """Return the columns in use and a digest of the files."""
        digest = file_ends_sha256 if self.in_order else file_sha256
        digests = [digest(file.path) for file in self._files]
        return {
            "form": "table",
            "columns": self._columns,
            "key_column": self._options.key_column,
            **self._policy.describe_paths(),
            "files": len(digests),
            "sha256": digests[0]
            if len(digests) == 1
            else hashlib.sha256("".join(digests).encode()).hexdigest(),
        }

    def notes(self) -> list[str]:
        """Return which columns are used or ignored, and which files must not be read."""
        columns = ", ".join(f"{slot} = column {name!r}" for slot, name in self._columns.items())
        notes = [columns + (f" of {len(self._files)} files" if len(self._files) > 1 else "")]
        if self._ignored_columns:
            notes.append(f"ignored columns of bytes: {', '.join(sorted(self._ignored_columns))}")
        return notes + self._hints + self._format_notes() + self._outside_notes()

    def _outside_notes(self) -> list[str]:
        """Return how many of the first rows name files that must not be read, and the first."""
        rows, details = 0, []
        for record in islice(self.records(), _SNIFFED_ROWS):
            rows += 1
            problems = record.problems.values()
            details += [detail for reason, detail in problems if reason == "outside"][:1]
        if not details:
            return []
        return [f"{len(details)} of the first {rows} rows name a file outside: {details[0]}"]

    def _format_notes(self) -> list[str]:
        """Return how the files are read; of equal notes, the first file and their number."""
        paths: dict[str, list[str]] = {}
        for table in self._tables:
            for note in table.notes:
                paths.setdefault(note, []).append(posixpath.basename(table.path))
        return [
            f"{first}{f' and {len(others)} more' if others else ''}: {note}"
            for note, (first, *others) in paths.items()
        ]

    def input_files(self) -> Iterator[str]:
        """Yield the files of the table."""
        return (file.path for file in self._files)

    def media_files(self) -> Iterator[str]:
        """Yield the files that cells name. This reads the table."""
        for record in self.records():
            yield from (ref.path for ref in record.media.values() if isinstance(ref, FileRef))

    def records(self) -> Iterator[Record]:
        """Yield one record per row. A row that cannot be parsed is a record with a problem."""
        row = 0
        for file, table in zip(self._files, self._tables, strict=True):
            for row_in_file, values in enumerate(read_rows(table, self._text_columns)):
                yield self._record(row, row_in_file, values, file)
                row += 1

    def _record(self, row: int, row_in_file: int, values: Row, file: TableFile) -> Record:
        error = values
        if not isinstance(values, str):
            try:
                return self._parse_row(row, row_in_file, values, file)
            except RecursionError:
                error = "nested too deeply"
        reason = "too_large" if isinstance(error, OversizedRow) else "malformed_row"
        detail = f"{posixpath.basename(file.path)}: {error}"
        return Record(row, "", problems={"": (reason, detail)})

    def _parse_row(
        self, row: int, row_in_file: int, values: Mapping[str, Any], file: TableFile
    ) -> Record:
        media: dict[str, MediaRef] = {}
        problems: dict[str, tuple[str, str]] = {}
        for slot, column, inline in self._cells:
            value = values.get(column)
            if is_missing(value):
                continue
            try:
                ref = (
                    _text_ref(value, column)
                    if inline
                    else self._media_ref(value, file, row_in_file, column)
                )
            except RecordError as error:
                problems[slot] = (error.reason, error.detail)
            else:
                if ref is not None:
                    media[slot] = ref
        metadata, metadata_problems = clean_metadata(self._metadata_of(values))
        return Record(
            row,
            self._key(values, media),
            media,
            {**file.metadata, **metadata},
            problems | metadata_problems,
        )

    def _metadata_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self._part_columns:
                if name not in self._ignored_columns and not isinstance(value, UnreadBytes):
                    metadata[name] = value
            elif (path := self._path_of(name, value)) is not None:
                metadata[name] = path
        return metadata

    def _path_of(self, column: str, value: Any) -> Any:
        """Return the path in a media cell, which is kept as metadata; None for any content."""
        if column not in self._media_columns:
            return None
        if isinstance(value, UnreadBytes):
            return value.path
        if isinstance(value, dict):
            return to_json_value(value.get("path"))
        stripped = _strip_url(value) if isinstance(value, str) else ""
        is_content = stripped.startswith("data:") or _is_base64(stripped)
        return None if is_content else to_json_value(value)

    def _media_ref(
        self, value: Any, file: TableFile, row_in_file: int, column: str
    ) -> MediaRef | None:
        if isinstance(value, UnreadBytes):
            return self._cell_ref(value.path or "", file, row_in_file, column)
        if isinstance(value, dict):
            if isinstance(value.get("bytes"), str):
                return Base64Ref(value["bytes"], str(value.get("path") or ""))
            value = value.get("path")
            if value is None:
                return None
        _require_string(value, column)
        value = _strip_url(value)
        if value.startswith("data:"):
            header, _, content = value.partition(",")
            if not header.endswith(";base64"):
                raise RecordError("undecodable", f"column {column!r}: a data URL without base64")
            return Base64Ref(content)
        if _is_base64(value):
            return Base64Ref(value)
        if len(value) > _MAX_PATH_CHARACTERS:
            raise RecordError("unreadable", f"column {column!r}: a path of {len(value):,} letters")
        return FileRef(self._policy.complete_path(file.root, value))

    def _cell_ref(
        self, path: str, file: TableFile, row_in_file: int, column: str
    ) -> ParquetCellRef:
        """Refer to a cell of bytes. If the bytes are null, `path` is read unless it is outside."""
        complete_path = ""
        path = _strip_url(path)
        if path:
            with suppress(RecordError):
                complete_path = self._policy.complete_path(file.root, path)
        return ParquetCellRef(file.path, row_in_file, column, path, complete_path)

    def _key(self, row: Mapping[str, Any], media: Mapping[str, MediaRef]) -> str:
        if self._options.key_column:
            return safe_key(key_text(row.get(self._options.key_column)))
        name = next((ref.name for ref in media.values() if ref.name), "")
        return safe_key(file_stem(name))


def _is_inline(slot: str) -> bool:
    return MODALITIES[modality_of_slot(slot) or slot].inline


def _strip_url(value: str) -> str:
    """Strip the spaces around a URL or base64. Those of a local path belong to its name."""
    stripped = value.strip()
    is_path = not (is_url(stripped) or stripped.startswith("data:") or _is_base64(stripped))
    return value if is_path else stripped


def _is_media(value: Any, depth: int = 2) -> bool:
    """Return whether a value is a file as base64, or a list or struct of such."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and any(_is_media(item, depth - 1) for item in items)
    if not isinstance(value, str):
        return False
    value = _strip_url(value)
    return bool(_DATA_URL.match(value) or _is_base64(value))


def _is_base64(value: str) -> bool:
    return value.startswith(_BASE64_STARTS) and bool(_BASE64.fullmatch(value))


def _text_ref(value: Any, column: str) -> TextRef:
    _require_string(value, column)
    check_text_size(len(value))
    if not is_utf8(value):
        raise RecordError("undecodable", f"column {column!r} is not UTF-8")
    return TextRef(value)


def _require_string(value: Any, column: str) -> None:
    if not isinstance(value, str):
        kind = "bytes" if isinstance(value, UnreadBytes) else type(value).__name__
        detail = f"column {column!r} holds {kind}, not a string"
        raise RecordError("undecodable", detail)
