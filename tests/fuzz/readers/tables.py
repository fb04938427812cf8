"""Tables of records: delimited text, JSON, Parquet; and files of keys."""

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.media import resolve_parquet_media
from mmfeat.records import BytesRef
from mmfeat.sharding.plan_codec import LineEncoder
from mmfeat.sharding.selection.key_file import read_keys
from mmfeat.sources import open_source
from tests.fuzz.mutations import mutate_bytes, mutate_json
from tests.fuzz.target import Target
from tests.mmfeat.shards.tar_bytes import END, tar_member

_ROWS = [
    {"file_name": "a.png", "text": "words", "label": "x", "n": 1, "f": 0.5},
    {"file_name": "b/c.png", "text": 'quoted "words",\n麻辣', "label": "y", "n": -2, "f": None},
    {"file_name": "https://host/d.png", "text": "", "label": "", "n": 10**18, "f": 1e300},
]
_WORDS = [
    b'"', b'""', b",", b"\t", b";", b"|", b"\n", b"\r\n", b"\r", b"sep=;\n", b"\0", b"\xff", b"nan",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"../", b"file:///x", b"data:image/png;base64,AAAA",
]  # fmt: skip
_JSON_WORDS = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"NaN", b"Infinity", b"1e999",
    b"99999999999999999999", b"\\ud800", b"\\u0000", b"\\", b"\n", b"null", b'{"data": [',
    b"[[[[", b'{"a":{"b":', b"\xff",
]  # fmt: skip


def _delimited(separator: str, newline: str = "\n") -> bytes:
    lines = [separator.join(_ROWS[0])]
    for row in _ROWS:
        cells = ["" if value is None else str(value) for value in row.values()]
        lines.append(separator.join('"' + cell.replace('"', '""') + '"' for cell in cells))
    return newline.join(lines).encode()


def _table_target(
    folder: Path,
    suffix: str,
    seeds: Sequence[bytes],
    tokens: Sequence[bytes],
    mutate: Callable[[Random, Sequence[bytes], Sequence[bytes]], bytes] = mutate_bytes,
) -> Target:
    """Records from a table, as a plan holds them. Media of other files are not read."""
    path = folder / f"t{suffix}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = open_source(str(path))
        source.describe()
        source.notes()
        encoder = LineEncoder(source.slots)
        for record in source.records():
            encoder.encode(record)

    return Target(read, seeds, tokens, mutate)


def csv(folder: Path) -> Target:
    seeds = [_delimited(","), _delimited(";", "\r\n"), _delimited("\t").replace(b'"', b"")]
    seeds += [_delimited(",").decode().encode("utf-16"), b"sep=|\n" + _delimited("|")]
    return _table_target(folder, ".csv", seeds, _WORDS)


def tsv(folder: Path) -> Target:
    return _table_target(folder, ".tsv", [_delimited("\t"), b"file_name\ttext\na\tb\n"], _WORDS)


def csv_gz(folder: Path) -> Target:
    return _table_target(folder, ".csv.gz", [gzip.compress(_delimited(","))], _WORDS)


def json_array(folder: Path) -> Target:
    documents = [_ROWS, {"info": [{}], "data": _ROWS}]
    seeds = [json.dumps(d, ensure_ascii=number > 0).encode() for number, d in enumerate(documents)]

    def mutate(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
        return (mutate_json if random.randrange(2) else mutate_bytes)(random, seeds, tokens)

    return _table_target(folder, ".json", seeds, _JSON_WORDS, mutate)


def json_lines(folder: Path) -> Target:
    seeds = [b"\n".join(json.dumps(row).encode() for row in _ROWS)]
    return _table_target(folder, ".jsonl", seeds, _JSON_WORDS)


def _parquet_seeds() -> list[bytes]:
    rows = [row | {"tags": ["a", None], "at": {"x": 1}, "raw": b"bytes"} for row in _ROWS]
    tables = [pa.Table.from_pylist(_ROWS), pa.Table.from_pylist(rows)]
    seeds = []
    for table in tables:
        for compression in ("none", "snappy"):
            output = io.BytesIO()
            pq.write_table(table, output, row_group_size=2, compression=compression)
            seeds.append(output.getvalue())
    return seeds


def parquet(folder: Path) -> Target:
    return _table_target(folder, ".parquet", _parquet_seeds(), [b"PAR1", b"ARROW:schema"])


def parquet_media(folder: Path) -> Target:
    """Images in the cells of a Parquet table."""
    path = folder / "t.parquet"
    rows = [{"image": {"bytes": b"picture", "path": "a.png"}, "text": "x"}] * 3
    seeds = []
    for compression in ("none", "snappy"):
        output = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), output, compression=compression)
        seeds.append(output.getvalue())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for record in resolve_parquet_media([*open_source(str(path)).records()]):
            for reference in record.media.values():
                if isinstance(reference, BytesRef):
                    assert isinstance(reference.data, bytes)

    return Target(read, seeds, [b"PAR1", b"bytes", b"path"])


def sidecar(folder: Path) -> Target:
    """The table next to a tar, of mmfeat or img2dataset."""
    tar, path = folder / "00000.tar", folder / "00000.parquet"
    tar.write_bytes(tar_member("k1.jpg") + tar_member("k2.jpg") + END)
    own = [{"__key__": f"k{n}", "status": "ok", "reason": None, "error": None, "n": n}
           for n in range(4)]  # fmt: skip
    own.append({"__key__": "k9", "status": "failed", "reason": "image:empty", "error": "x"})
    other = [{"key": f"k{n}", "status": "success", "error_message": None, "url": "u"}
             for n in range(3)]  # fmt: skip
    seeds = []
    for rows in (own, other):
        output = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), output, compression="none")
        seeds.append(output.getvalue())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for _ in open_source(str(tar)).records():
            pass

    words = [b"__key__", b"key", b"status", b"reason", b"failed", b"partial", b"image:", b"PAR1"]
    return Target(read, seeds, words)


def key_array(folder: Path) -> Target:
    """DataComp's array of uids."""
    path = folder / "keys.npy"
    seeds = []
    for array in (
        np.array([(1, 2), (3, 4)], np.dtype("u8,u8")), np.array(["a", "b"]), np.arange(4)
    ):  # fmt: skip
        output = io.BytesIO()
        np.save(output, array)
        seeds.append(output.getvalue())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for _ in read_keys(str(path)):
            pass

    words = [
        b"'descr'",
        b"'|O'",
        b"'<U9'",
        b"'fortran_order'",
        b"(9999999999,)",
        b"<u8",
        b"\x93NUMPY",
    ]
    return Target(read, seeds[:1], [*words, *seeds[1:]])


def key_lines(folder: Path) -> Target:
    """Keys in lines."""
    path = folder / "keys.txt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for _ in read_keys(str(path)):
            pass

    return Target(read, [b"a\nb\n", "é\r\nc".encode()], _WORDS)
