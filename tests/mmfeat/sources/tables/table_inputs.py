"""Tables in all formats, and the records that are read from them."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mmfeat.media import ReadPolicy
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source

ROWS = [
    {"file_name": "images/小龙虾_0.jpg", "text": '麻辣，\n"鲜香"', "label": "aquatic"},
    {"file_name": "", "text": "no picture", "label": "none"},
    {"file_name": "b.jpg", "text": "", "label": ""},
]


def write_csv(path, rows, separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_table(path, rows):
    """Write rows in the format of the suffix, in a new folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    formats = {".csv": write_csv, ".jsonl": write_json_lines, ".parquet": write_parquet}
    formats[path.suffix](path, rows)


def compressed(write, compress):
    def write_compressed(path, rows):
        write(path, rows)
        path.write_bytes(compress(path.read_bytes()))

    return write_compressed


WRITERS = {
    "t.csv": write_csv,
    "t.tsv": lambda path, rows: write_csv(path, rows, "\t"),
    "t.jsonl": write_json_lines,
    "t.ndjson": write_json_lines,
    "t.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "data.json": lambda path, rows: path.write_text(json.dumps({"info": [{}], "data": rows})),
    "bom.json": lambda path, rows: path.write_text(json.dumps(rows), encoding="utf-8-sig"),
    "bom.csv": compressed(write_csv, lambda content: b"\xef\xbb\xbf" + content),
    "T.PARQUET": write_parquet,
    "t.csv.gz": compressed(write_csv, gzip.compress),
    "t.jsonl.gz": compressed(write_json_lines, gzip.compress),
    "t.csv.zst": compressed(write_csv, zstandard.compress),
    "t.json.zst": compressed(
        lambda path, rows: path.write_text(json.dumps(rows)), zstandard.compress
    ),
}  # fmt: skip


def source_of(path, key="", outside=False, **columns):
    named = {modality: tuple(names.split()) for modality, names in columns.items()}
    return open_source(str(path), InputOptions(named, key, ReadPolicy(allow_outside=outside)))
