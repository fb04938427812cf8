"""Tables as input: CSV, TSV, JSON, JSON lines and Parquet, with columns of media or texts."""

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.records import (
    MODALITIES,
    FileRef,
    MediaRef,
    Record,
    clean_metadata,
    file_stem,
    is_missing,
    key_text,
    modality_of_slot,
    safe_key,
)
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.digests import file_ends_sha256, file_sha256
from mmfeat.sources.tables.formats import OversizedRow, Row, UnreadBytes
from mmfeat.sources.tables.table_cells import (
    CellPosition,
    holds_media,
    media_ref,
    path_in_cell,
    text_ref,
)
from mmfeat.sources.tables.table_columns import ColumnFinder
from mmfeat.sources.tables.table_formats import open_table, read_rows

_SNIFFED_ROWS = 1000
"""Rows of each column that are read to find out whether it contains files."""


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
                name
                for name, value in row.items()
                if name not in used_columns and holds_media(value)
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
                if inline:
                    ref: MediaRef | None = text_ref(value, column)
                else:
                    position = CellPosition(file.path, file.root, row_in_file, column)
                    ref = media_ref(value, position, self._policy)
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
            elif name in self._media_columns and (path := path_in_cell(value)) is not None:
                metadata[name] = path
        return metadata

    def _key(self, row: Mapping[str, Any], media: Mapping[str, MediaRef]) -> str:
        if self._options.key_column:
            return safe_key(key_text(row.get(self._options.key_column)))
        name = next((ref.name for ref in media.values() if ref.name), "")
        return safe_key(file_stem(name))


def _is_inline(slot: str) -> bool:
    return MODALITIES[modality_of_slot(slot) or slot].inline
