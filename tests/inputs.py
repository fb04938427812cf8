"""The inputs of docs/shards.md, one of each form, made from the records of the quickstart."""

import base64
import csv
import gzip
import io
import json
import shutil
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

Row = dict[str, Any]

RECORDS = 60


def make_inputs(table: Path, folder: Path) -> None:
    """Write all inputs.

    Args:
        table: CSV of the quickstart, in the folder of its images.
        folder: output folder.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _has_both(table.parent, row)]
    rows = rows[:RECORDS]
    for row in rows:
        target = folder / row["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(table.parent / row["file_name"], target)
    _write_tables(rows, folder)
    _write_embedded_images(rows, folder)
    _write_folders(rows, folder)
    _write_img2dataset(rows, folder)
    keys = [Path(row["file_name"]).stem for row in rows[:20]]
    (folder / "keys.txt").write_text("\n".join(keys))


def _has_both(folder: Path, row: Row) -> bool:
    return bool(row["text"]) and (folder / row["file_name"]).is_file()


def _write_csv(path: Path, rows: list[Row], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _write_tables(rows: list[Row], folder: Path) -> None:
    _write_csv(folder / "records.tsv", rows, "\t")
    (folder / "records.tsv.gz").write_bytes(gzip.compress((folder / "records.tsv").read_bytes()))
    (folder / "records.json").write_text(json.dumps(rows))
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for part in range(3):
        pq.write_table(pa.Table.from_pylist(rows[part::3]), folder / f"part-{part:03}.parquet")
    pairs = [{"front": a["file_name"], "back": b["file_name"]} for a, b in pairwise(rows)]
    _write_csv(folder / "two.csv", pairs)
    repeated = [row | {"file_name": rows[n // 2]["file_name"]} for n, row in enumerate(rows)]
    _write_csv(folder / "twice.csv", repeated)


def _write_embedded_images(rows: list[Row], folder: Path) -> None:
    contents = [(folder / row["file_name"]).read_bytes() for row in rows]
    embedded = [
        {"image": {"bytes": content, "path": row["file_name"]}, "text": row["text"]}
        for row, content in zip(rows, contents, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(embedded), folder / "embedded.parquet", row_group_size=16)
    lines = [
        {"image": base64.b64encode(content).decode(), "text": row["text"]}
        for row, content in zip(rows, contents, strict=True)
    ]
    (folder / "base64.jsonl").write_text("\n".join(map(json.dumps, lines)))


def _write_folders(rows: list[Row], folder: Path) -> None:
    for number, row in enumerate(rows):
        name = Path(row["file_name"]).name
        flat = folder / "folder" / name
        tree = folder / "tree" / ("test" if number % 5 == 4 else "train") / row["label"] / name
        listed = folder / "imagefolder" / "train" / name
        for path in (flat, tree, listed):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / row["file_name"], path)
        flat.with_suffix(".txt").write_text(row["text"])
        flat.with_suffix(".json").write_text(json.dumps({"label": row["label"]}))
    names = [row | {"file_name": Path(row["file_name"]).name} for row in rows]
    _write_csv(folder / "imagefolder" / "train" / "metadata.csv", names)
    (folder / "sounds").mkdir()
    for number in range(5):
        tone = np.sin(np.arange(800) * 0.01 * (number + 1)).astype(np.float32)
        soundfile.write(folder / "sounds" / f"{number}.wav", tone, 8000)


def _write_img2dataset(rows: list[Row], folder: Path) -> None:
    """Write the output of img2dataset: a tar of downloads, and a table of all requests."""
    output = folder / "img2dataset"
    output.mkdir()
    table = []
    with tarfile.open(output / "00000.tar", "w") as tar:
        for number, row in enumerate(rows):
            key = f"{number:09}"
            url = f"https://example.org/{row['file_name']}"
            values = {"url": url, "caption": row["text"], "key": key, "error_message": None}
            if number % 10 == 0:
                failed = {"status": "failed_to_download", "error_message": "HTTP Error 404"}
                table.append(values | failed)
                continue
            table.append(values | {"status": "success"})
            content = (folder / row["file_name"]).read_bytes()
            for extension, data in (
                ("png", content),
                ("txt", row["text"].encode()),
                ("json", json.dumps(table[-1]).encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    pq.write_table(pa.Table.from_pylist(table), output / "00000.parquet")
