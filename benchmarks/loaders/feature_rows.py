"""Random feature rows: as a feature store of mmfeat, and as the tars of WebDataset."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features import OK, FeatureShape, column_schema, make_column_batch
from mmfeat.store import files, newest_format, shard_name

COLUMNS = {"image": 512, "text": 384}
"""Column → length of its float16 vectors."""

ROWS_PER_SHARD = 10_000

VALIDATION_ROWS = 1024
"""Rows of the validation split, which training needs to choose a model."""

CLASSES = 10


def write_store(folder: Path, rows: int) -> str:
    """Write a finished feature store, unless it exists.

    Args:
        folder: the store.
        rows: training rows; the validation rows come on top.

    Returns:
        The path of the store.
    """
    path = str(folder)
    if (folder / "manifest.json").exists():
        return path
    sizes = [min(ROWS_PER_SHARD, rows - start) for start in range(0, rows, ROWS_PER_SHARD)]
    sizes.append(VALIDATION_ROWS)
    for index, size in enumerate(sizes):
        split = "val" if index == len(sizes) - 1 else "train"
        _write_shard(folder, index, size, split)
    files.write_json(str(folder / "manifest.json"), _manifest(sizes))
    return path


def _write_shard(folder: Path, index: int, size: int, split: str) -> None:
    rng = np.random.default_rng(index)
    labels = rng.integers(0, CLASSES, size)
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
        with (
            files.create(str(folder / name / f"{shard_name(index)}.arrow")) as output,
            pa.ipc.new_file(output, column_schema(FeatureShape(dim))) as file,
        ):
            file.write_batch(batch)


def _manifest(sizes: list[int]) -> dict[str, object]:
    return {
        "format": newest_format("features"),
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
    """Write rows in the format of WebDataset: `key.image.npy`, `key.text.npy`, `key.json`.

    Args:
        folder: folder of the tars; tars that exist are kept.
        features: column → array of shape (rows, dim).
        labels: class of each row.

    Returns:
        The paths of the tars.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in range(0, len(labels), ROWS_PER_SHARD):
        path = folder / f"{start // ROWS_PER_SHARD:05d}.tar"
        paths.append(str(path))
        if path.exists():
            continue
        with tarfile.open(path, "w") as tar:
            for row in range(start, min(start + ROWS_PER_SHARD, len(labels))):
                for name, values in features.items():
                    _add_member(tar, f"{row:08d}.{name}.npy", _npy_bytes(values[row]))
                label = json.dumps({"label": int(labels[row])})
                _add_member(tar, f"{row:08d}.json", label.encode())
    return paths


def _npy_bytes(vector: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vector)
    return buffer.getvalue()


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
