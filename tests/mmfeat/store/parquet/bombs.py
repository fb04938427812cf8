"""Small files of a store that would use all memory: makes each and reads it with little memory.

Run as a program: `python -m tests.mmfeat.store.parquet.bombs FOLDER` prints a JSON object, name →
the error of the file, or what was read; and the memory in bytes that reading took.
"""

import json
import resource
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureShape, column_schema, make_column_batch, read_column_file
from mmfeat.features.column_format import OK
from mmfeat.sources import InputOptions, open_source
from mmfeat.store import iter_parquet, read_parquet, record_file
from tests.mmfeat.sources.bombs import _memory

_HARD_LIMIT = 8 << 30
"""Address space of the process, so that a bomb that goes off does not take the machine with it."""

_SHAPE = FeatureShape(1 << 20)


def _write_compressed_column(path: Path) -> None:
    """256 MiB of zeros."""
    batch = make_column_batch(np.zeros((128, _SHAPE.dim), np.float16), [OK] * 128, _SHAPE)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, column_schema(_SHAPE), options=options) as writer,
    ):
        writer.write_batch(batch)


def _write_rows(rows: int, path: Path) -> None:
    pq.write_table(pa.table({"x": np.zeros(rows, np.int8)}), path)


def _write_repeated_text(path: Path) -> None:
    """A thousand rows of 8 MiB."""
    texts = pa.DictionaryArray.from_arrays([0] * 1000, ["a" * (8 << 20)])
    pq.write_table(
        pa.table({"text": texts}), path, store_schema=False, dictionary_pagesize_limit=1 << 30
    )


def deep_schema(levels: int) -> bytes:
    """A Parquet file without rows whose schema has nested structs."""

    def field(name: bytes, *, children: int = 0) -> bytes:
        kind = b"" if children else b"\x15\x02"  # field 1: INT32
        repetition = b"\x35\x02" if children else b"\x25\x02"  # field 3: optional
        named = b"\x18" + bytes([len(name)]) + name  # field 4
        return kind + repetition + named + (b"\x15\x02" if children else b"") + b"\0"

    elements = [field(b"a", children=1)] * levels + [field(b"x")]
    count = len(elements)
    groups = [count & 127 | 128, count >> 7 & 127 | 128, count >> 14]
    schema = b"\x19\xfc" + bytes(groups) + b"".join(elements)
    footer = b"\x15\x02" + schema + b"\x16\0" + b"\x19\x0c" + b"\0"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _write_deep_schema(path: Path) -> None:
    path.write_bytes(deep_schema(100_000))


def _write_deep_arrow_schema(path: Path) -> None:
    kind = pa.int8()
    for _ in range(1000):
        kind = pa.struct([("a", kind)])
    with pa.OSFile(str(path), "wb") as file:
        pa.ipc.new_file(file, pa.schema([("x", kind)])).close()


def _read_column(path: Path) -> object:
    return read_column_file(str(path), record_file(str(path)), _SHAPE).features.shape


def _read_table(path: Path) -> object:
    return read_parquet(str(path)).shape


def _read_known_rows(path: Path) -> object:
    return read_parquet(str(path), rows=10).shape


def _iterate_table(path: Path) -> object:
    return sum(len(batch) for batch in iter_parquet(str(path)))


def _read_input(path: Path) -> object:
    return len(list(open_source(str(path), InputOptions()).records()))


BOMBS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "compressed column.arrow": (_write_compressed_column, _read_column),
    "deep column.arrow": (_write_deep_arrow_schema, _read_column),
    "many rows.parquet": (partial(_write_rows, (1 << 27) + 1), _read_table),
    "more rows than known.parquet": (partial(_write_rows, 1 << 24), _read_known_rows),
    "repeated text.parquet": (_write_repeated_text, _read_table),
    "repeated text in batches.parquet": (_write_repeated_text, _iterate_table),
    "deep schema.parquet": (_write_deep_schema, _read_table),
    "deep input.parquet": (_write_deep_schema, _read_input),
}
"""Name of the file → what writes it, and what reads it."""


def main(folder: str) -> None:
    """Write and read each file, and print what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_HARD_LIMIT, _HARD_LIMIT))
    results = {}
    for name, (write, read) in BOMBS.items():
        path = Path(folder, name)
        write(path)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before = _memory("VmRSS")
        try:
            outcome = str(read(path))
        except MmfeatError as error:
            outcome = str(error)
        results[name] = (outcome, _memory("VmHWM") - before)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
