"""Read media stored in Parquet tables: in the order of the table, returned in record order."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import IO, Any

from mmfeat.records import BytesRef, FileRef, MediaRef, ParquetCellRef, Record, to_python
from mmfeat.storage import files
from mmfeat.store import damage_errors, damaged, open_parquet

_BATCH_ROWS = 16
"""Rows decoded at a time. A row may have megabytes."""

_BUFFER_BYTES = 1 << 20


def resolve_parquet_media(records: Sequence[Record]) -> Iterator[Record]:
    """Replace the references to Parquet cells by their bytes.

    Records in table order are streamed. For other orders, the media are copied to a temporary file
    first, each table read once. A row group is decoded as a whole, so reading its rows in random
    order would decode it many times.
    """
    cells = [
        ref for record in records for ref in record.media.values()
        if isinstance(ref, ParquetCellRef)
    ]  # fmt: skip
    if not cells:
        yield from records
        return
    positions = [(cell.table, cell.row) for cell in cells]
    if all(a <= b for a, b in pairwise(positions)):
        yield from _replace_cells(records, _read_cells(cells))
        return
    with tempfile.TemporaryFile("w+b", prefix="mmfeat-media-") as spill:
        order = sorted(range(len(cells)), key=positions.__getitem__)
        spilled: list[_SpilledMedia | None] = [None] * len(cells)
        for index, media in zip(order, _read_cells(cells[i] for i in order), strict=True):
            spilled[index] = _spill(media, spill)
        yield from _replace_cells(records, (_unspill(entry, spill) for entry in spilled))


@dataclass(frozen=True, slots=True)
class _SpilledMedia:
    """Media in the temporary file. Only the bytes of a `BytesRef` are spilled."""

    ref: MediaRef
    offset: int = 0
    size: int = 0


def _spill(ref: MediaRef | None, spill: IO[bytes]) -> _SpilledMedia | None:
    if not isinstance(ref, BytesRef):
        return None if ref is None else _SpilledMedia(ref)
    offset = spill.seek(0, 2)
    spill.write(ref.data)
    return _SpilledMedia(BytesRef(b"", ref.name), offset, len(ref.data))


def _unspill(spilled: _SpilledMedia | None, spill: IO[bytes]) -> MediaRef | None:
    if spilled is None or not isinstance(spilled.ref, BytesRef):
        return spilled.ref if spilled else None
    spill.seek(spilled.offset)
    return BytesRef(spill.read(spilled.size), spilled.ref.name)


def _replace_cells(
    records: Iterable[Record], cell_media: Iterator[MediaRef | None]
) -> Iterator[Record]:
    for record in records:
        media: dict[str, MediaRef] = {}
        problems = dict(record.problems)
        for slot, ref in record.media.items():
            resolved = next(cell_media) if isinstance(ref, ParquetCellRef) else ref
            if resolved is not None:
                media[slot] = resolved
            elif isinstance(ref, ParquetCellRef) and ref.name:
                # The cell names a file, and the plan has no path for it.
                detail = f"{ref.name[:200]} leaves the folder of {ref.table}; --allow-outside or "
                problems[slot] = ("outside", f"{detail}--allow-protocol permits it")
        yield replace(record, media=media, problems=problems)


def _read_cells(cells: Iterable[ParquetCellRef]) -> Iterator[MediaRef | None]:
    """Yield the media of cells that are sorted by table and row."""
    for table, group in groupby(cells, key=lambda cell: cell.table):
        table_cells = list(group)
        columns = sorted({cell.column for cell in table_cells})
        rows = read_rows(table, columns, sorted({cell.row for cell in table_cells}))
        for row, row_cells in groupby(table_cells, key=lambda cell: cell.row):
            values = next((values for index, values in rows if index == row), None)
            if values is None:
                raise damaged(table, f"a Parquet file with the row {row}", "fewer rows")
            for cell in row_cells:
                yield _to_media_ref(cell, to_python(values[cell.column]))


def read_rows(
    table: str, columns: Sequence[str], wanted_rows: Sequence[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield index and Arrow scalars of each row, from the row groups with a wanted row.

    Raises:
        DamagedFileError: the table is damaged.
    """
    with (
        damage_errors(table, "a valid Parquet file"),
        files.open_input(table) as file,
        open_parquet(file, buffer_size=_BUFFER_BYTES) as parquet,
    ):
        start, pending = 0, list(reversed(wanted_rows))
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            if pending and pending[-1] < end:
                row = start
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                    for index in range(batch.num_rows):
                        yield row, {name: batch.column(name)[index] for name in columns}
                        row += 1
                while pending and pending[-1] < end:
                    pending.pop()
            start = end


def _to_media_ref(cell: ParquetCellRef, value: Any) -> MediaRef | None:
    """Return the bytes of a cell, or else the file it names, or None."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None:
        return FileRef(cell.path) if cell.path else None
    return BytesRef(value, cell.name)
