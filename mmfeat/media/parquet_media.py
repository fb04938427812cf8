"""Media inside Parquet tables: read in the order of the table, given out in that of the records."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import IO, Any

import pyarrow.parquet as pq

from mmfeat.records.media_ref import BytesRef, FileRef, MediaRef, ParquetCellRef
from mmfeat.records.record import Record
from mmfeat.store import files

_BATCH = 16
"""Rows decoded at a time: a row may hold megabytes."""

_BUFFER_BYTES = 1 << 20


def with_contents(records: Sequence[Record]) -> Iterator[Record]:
    """The records with the bytes of their cells in place of the references.

    Records in the order of their table are streamed. Others have their cells copied to a
    temporary file first, each table read once: a row group is decoded as a whole, so that
    fetching single rows of it in a random order would decode it again and again.
    """
    cells = [(n, slot, p) for n, r in enumerate(records) for slot, p in r.media.items()
             if isinstance(p, ParquetCellRef)]  # fmt: skip
    if not cells:
        yield from records
        return
    places = [(cell.table, cell.row) for _, _, cell in cells]
    if all(a <= b for a, b in pairwise(places)):
        yield from _resolved(records, _values(cell for _, _, cell in cells))
        return
    with tempfile.TemporaryFile("w+b", prefix="mmfeat-cells-") as spill:
        order = sorted(range(len(cells)), key=places.__getitem__)
        copied: list[_Copied | None] = [None] * len(cells)
        for index, part in zip(order, _values(cells[i][2] for i in order), strict=True):
            copied[index] = _copy(part, spill)
        yield from _resolved(records, (_fetch(entry, spill) for entry in copied))


@dataclass(frozen=True, slots=True)
class _Copied:
    """A value in the temporary file; what is no `Content` stands for itself."""

    part: MediaRef
    offset: int = 0
    size: int = 0


def _copy(part: MediaRef | None, spill: IO[bytes]) -> _Copied | None:
    if not isinstance(part, BytesRef):
        return None if part is None else _Copied(part)
    offset = spill.seek(0, 2)
    spill.write(part.data)
    return _Copied(BytesRef(b"", part.name), offset, len(part.data))


def _fetch(copied: _Copied | None, spill: IO[bytes]) -> MediaRef | None:
    if copied is None or not isinstance(copied.part, BytesRef):
        return copied.part if copied else None
    spill.seek(copied.offset)
    return BytesRef(spill.read(copied.size), copied.part.name)


def _resolved(records: Iterable[Record], values: Iterator[MediaRef | None]) -> Iterator[Record]:
    for record in records:
        parts: dict[str, MediaRef] = {}
        problems = dict(record.problems)
        for slot, part in record.media.items():
            found = next(values) if isinstance(part, ParquetCellRef) else part
            if found is not None:
                parts[slot] = found
            elif isinstance(part, ParquetCellRef) and part.name:
                # It names a file, and the plan gave it no place to look for it.
                problems[slot] = ("outside", f"{part.name} leaves the folder of {part.table}")
        yield replace(record, media=parts, problems=problems)


def _values(cells: Iterable[ParquetCellRef]) -> Iterator[MediaRef | None]:
    """What the cells hold; they come in the order of their tables' rows."""
    for table, group in groupby(cells, key=lambda cell: cell.table):
        yield from _values_of(table, list(group))


def _values_of(table: str, cells: Sequence[ParquetCellRef]) -> Iterator[MediaRef | None]:
    columns = sorted({cell.column for cell in cells})
    rows = _rows(table, columns, sorted({cell.row for cell in cells}))
    for number, group in groupby(cells, key=lambda cell: cell.row):
        row = next(found for at, found in rows if at == number)
        for cell in group:
            yield _part(cell, row[cell.column].as_py())


def _rows(
    table: str, columns: Sequence[str], wanted: Sequence[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and scalars of the rows of the row groups that hold a wanted one."""
    with (
        files.open_input(table) as file,
        pq.ParquetFile(file, buffer_size=_BUFFER_BYTES) as open_,
    ):
        start, pending = 0, list(reversed(wanted))
        for group in range(open_.num_row_groups):
            end = start + open_.metadata.row_group(group).num_rows
            if pending and pending[-1] < end:
                number = start
                for batch in open_.iter_batches(_BATCH, row_groups=[group], columns=columns):
                    for index in range(batch.num_rows):
                        yield number, {name: batch.column(name)[index] for name in columns}
                        number += 1
                while pending and pending[-1] < end:
                    pending.pop()
            start = end


def _part(cell: ParquetCellRef, value: Any) -> MediaRef | None:
    """The bytes of a cell, the file it names instead, or nothing."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None:
        return FileRef(cell.path) if cell.path else None
    return BytesRef(value, cell.name)
