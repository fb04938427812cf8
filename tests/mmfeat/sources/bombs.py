"""Small files that would use all memory, or hours: makes each and reads it with little memory.

Run as a program: `python -m tests.mmfeat.sources.bombs PATH…` prints a JSON list with an entry for
each file: what came of its records, or its error; and the memory in bytes that reading it took.
"""

import gzip
import json
import resource
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.sources import InputOptions, open_source

_HARD_LIMIT = 8 << 30
"""Address space of the process, so that a bomb that goes off does not take the machine with it."""

_BLOCK = gzip.compress(b"a" * (16 << 20), 9)
_BLOCKS = 5
_DEEP = "[" * 200_000
_OWN_NAMES = "".join(json.dumps({"text": "a", f"c{n}": n}) + "\n" for n in range(20_000))
_WIDE = {"text": "a"} | {f"c{n}": n for n in range(100_000)}


def _zipped(start: str, end: str) -> bytes:
    """Return a gzip file of `start`, 80 MiB of one letter, and `end`."""
    return gzip.compress(start.encode()) + _BLOCK * _BLOCKS + gzip.compress(end.encode())


def _repeated_text(rows: int, size: int) -> pa.Table:
    """Return a table in which all rows have the same text."""
    return pa.table({"text": pa.DictionaryArray.from_arrays([0] * rows, ["a" * size])})


def _nested(levels: int) -> str:
    return f'{{"text": "a", "x": {"[" * levels}{"]" * levels}}}'


BOMBS: dict[str, Callable[[], tuple[str, bytes | pa.Table]]] = {
    "brackets": lambda: (".json", _DEEP.encode()),
    "objects": lambda: (".json", b'{"a":' * 200_000),
    "deep value": lambda: (".json", f'[{_nested(200_000)}, {{"text": "b"}}]'.encode()),
    "deep value in lines": lambda: (".jsonl", f'{_nested(200_000)}\n{{"text": "b"}}'.encode()),
    "500 levels": lambda: (".jsonl", f'{_nested(500)}\n{{"text": "b"}}'.encode()),
    "columns": lambda: (".csv", ",".join(_WIDE).encode() + b"\na"),
    "columns in lines": lambda: (".jsonl", json.dumps(_WIDE).encode()),
    "columns of their own": lambda: (".jsonl", _OWN_NAMES.encode()),
    "columns in parquet": lambda: (".parquet", pa.table({n: [1] for n in islice(_WIDE, 10_001)})),
    "header": lambda: (".csv.gz", _zipped("", "\nb")),
    "cell": lambda: (".csv.gz", _zipped("key,text\n1,", "\n2,b\n")),
    "quoted cell": lambda: (".csv.gz", _zipped('key,text\n1,"', '"\n2,b\n')),
    "cell in tsv": lambda: (".tsv.gz", _zipped("key\ttext\n1\t", "\n2\tb\n")),
    "cell in lines": lambda: (".jsonl.gz", _zipped('{"text": "', '"}\n{"text": "b"}\n')),
    "cell in json": lambda: (".json.gz", _zipped('[{"text": "', '"}, {"text": "b"}]')),
    "empty lists": lambda: (
        ".jsonl", b'{"text": "a", "x": [' + b"[]," * 3_000_000 + b'1]}\n{"text": "b"}\n',
    ),
    "quotes": lambda: (".csv", b"key,text\n" + b'b","\n' * 200_000),
    "dictionary": lambda: (".parquet", _repeated_text(1000, 1 << 20)),
    "cell in parquet": lambda: (".parquet", pa.table({"text": ["a" * (128 << 20), "b"]})),
    "list in parquet": lambda: (
        ".parquet", pa.table({"text": ["a", "b"], "x": [[0] * 10_000_000, [1]]}),
    ),
}  # fmt: skip
"""Name → the suffix of the file, and its content."""


def write_bomb(folder: Path, name: str) -> Path:
    """Write one of the files."""
    suffix, content = BOMBS[name]()
    path = folder / f"{name}{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path, compression="zstd", store_schema=False)
    return path


def read_bomb(path: Path) -> str | dict[str, int]:
    """Return what came of the records of a file, `ok` or its problems → records; or the error."""
    try:
        records = open_source(str(path), InputOptions()).records()
        return Counter(
            ", ".join(f"{slot}:{reason}" for slot, (reason, _) in record.problems.items()) or "ok"
            for record in records
        )
    except MmfeatError as error:
        return str(error)


def _memory(name: str) -> int:
    """Return a value of the kernel about this process in bytes: `VmRSS`, or its peak `VmHWM`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) << 10


def main(*paths: str) -> None:
    """Read each file and print what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_HARD_LIMIT, _HARD_LIMIT))
    entries = []
    for path in paths:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before = _memory("VmRSS")
        outcome = read_bomb(Path(path))
        entries.append([outcome, _memory("VmHWM") - before])
    print(json.dumps(entries))


if __name__ == "__main__":
    main(*sys.argv[1:])
