"""CSV and TSV, as programs and spreadsheets write them."""

from collections.abc import Collection, Iterator

from mmfeat.errors import MmfeatError
from mmfeat.sources.tables.formats.cells import read_cells
from mmfeat.sources.tables.formats.dialect import find_dialect, start_reading
from mmfeat.sources.tables.formats.table import Row, Table
from mmfeat.sources.tables.formats.text import find_encoding


def read_csv(path: str) -> Table:
    """Open a CSV file."""
    return _open_table(path, ",")


def read_tsv(path: str) -> Table:
    """Open a TSV file."""
    return _open_table(path, "\t")


def _open_table(path: str, default_separator: str) -> Table:
    dialect, notes = find_dialect(path, default_separator)
    if (encoding := find_encoding(path)) != "utf-8":
        notes.insert(0, f"read as {encoding.upper()}")
    with start_reading(path, dialect) as (_, header):
        names = [name.strip() or f"unnamed_{place}" for place, name in enumerate(header)]
    if any("\0" in name for name in header):
        raise MmfeatError(
            f"{path} is not text in UTF-8: its first line has NUL bytes",
            cure="Save the table as UTF-8",
        )
    unnamed = [name for name in names if name not in map(str.strip, header)]

    def rows(_: Collection[str]) -> Iterator[Row]:
        with start_reading(path, dialect) as (lines, _header):
            for cells in read_cells(lines, dialect, len(names)):
                row = cells if isinstance(cells, str) else dict(zip(names, cells, strict=True))
                for name in unnamed:
                    if isinstance(row, dict) and not row[name]:
                        del row[name]
                yield row

    return Table(path, names, rows, notes=tuple(notes))
