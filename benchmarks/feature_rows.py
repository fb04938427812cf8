"""Feature stores of random rows, and the same rows the ways other loaders want them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features.column_format import OK, FeatureShape, column_schema, make_column_batch
from mmfeat.store import files
from mmfeat.store.directory import STORE_FORMAT, shard_name

COLUMNS = {"image": 512, "text": 384}
"""Column → length of its float16 vectors."""

SHARD = 10_000
"""Rows of a shard."""

VALIDATION = 1024
"""Rows beside those that train, since a model is chosen by some."""

CLASSES = 10


def write_store(folder: Path, rows: int) -> str:
    """Write a finished feature store of `rows` training rows; returns its path."""
    path = str(folder)
    if (folder / "manifest.json").exists():
        return path
    sizes = [min(SHARD, rows - start) for start in range(0, rows, SHARD)] + [VALIDATION]
    for index, size in enumerate(sizes):
        rng = np.random.default_rng(index)
        labels = rng.integers(0, CLASSES, size)
        split = "val" if index == len(sizes) - 1 else "train"
        table = pa.table(
            {
                "__key__": [f"{index:05d}-{row:06d}" for row in range(size)],
                "status": ["ok"] * size,
                "reason": pa.nulls(size, pa.string()),
                "error": pa.nulls(size, pa.string()),
                "label": labels,
                "split": [split] * size,
            }
        )
        with files.create(str(folder / "samples" / f"{shard_name(index)}.parquet")) as output:
            pq.write_table(table, output)
        for name, dim in COLUMNS.items():
            values = rng.standard_normal((size, dim), np.float32).astype(np.float16)
            values[np.arange(size), labels] += 1
            batch = make_column_batch(list(values), [OK] * size, FeatureShape(dim))
            column = str(folder / name / f"{shard_name(index)}.arrow")
            with (
                files.create(column) as output,
                pa.ipc.new_file(output, column_schema(FeatureShape(dim))) as file,
            ):
                file.write_batch(batch)
    files.write_json(str(folder / "manifest.json"), _manifest(sizes))
    return path


def _manifest(sizes: list[int]) -> dict[str, object]:
    return {
        "format": STORE_FORMAT,
        "kind": "features",
        "config": {},
        "config_hash": "0" * 64,
        "columns": {
            name: {
                "name": name,
                "modality": name,
                "dim": dim,
                "fingerprint": f"random-{dim}",
                "encoder": {"name": "random"},
            }
            for name, dim in COLUMNS.items()
        },
        "shards": [{"name": shard_name(i), "records": size} for i, size in enumerate(sizes)],
        "totals": {"records": sum(sizes)},
    }


def write_tars(folder: Path, features: dict[str, np.ndarray], labels: np.ndarray) -> list[str]:
    """The rows as WebDataset has them: `key.image.npy`, `key.text.npy`, `key.json` in tars."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in range(0, len(labels), SHARD):
        path = folder / f"{start // SHARD:05d}.tar"
        paths.append(str(path))
        if path.exists():
            continue
        with tarfile.open(path, "w") as tar:
            for row in range(start, min(start + SHARD, len(labels))):
                for name, values in features.items():
                    _add(tar, f"{row:08d}.{name}.npy", _npy(values[row]))
                _add(tar, f"{row:08d}.json", json.dumps({"label": int(labels[row])}).encode())
    return paths


def _npy(vector: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vector)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
