"""Random feature rows: as a feature store of mmfeat, and as the tars of WebDataset."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features import (
    OK,
    SAMPLES,
    FeatureShape,
    TableFiles,
    column_schema,
    make_column_batch,
)
from mmfeat.storage import files
from mmfeat.store import Receipt, RecordedFile, keys_digest, newest_format, shard_name

COLUMNS = {"image": 512, "text": 384}
"""Column → length of its float16 vectors."""

ROWS_PER_SHARD = 10_000

VALIDATION_ROWS = 1024
"""Rows of the validation split, which training needs to choose a model."""

CLASSES = 10

_CONFIG_HASH = "0" * 64


def write_store(
    folder: Path,
    rows: int,
    columns: Mapping[str, int] = COLUMNS,
    *,
    validation_rows: int = VALIDATION_ROWS,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> str:
    """Write a finished feature store, unless it exists.

    Args:
        folder: the store.
        rows: training rows; the validation rows come on top.
        columns: column → length of its vectors.
        validation_rows: rows of the validation split.
        rows_per_shard: maximum number of rows in a shard.

    Returns:
        The path of the store.
    """
    path = str(folder)
    if (folder / "manifest.json").exists():
        return path
    shards = [("train", size) for size in _shard_sizes(rows, rows_per_shard)]
    shards += [("val", size) for size in _shard_sizes(validation_rows, rows_per_shard)]
    entries = [
        {"name": shard_name(index), **_write_shard(folder, index, size, split, columns)}
        for index, (split, size) in enumerate(shards)
    ]
    files.write_json(str(folder / "manifest.json"), _manifest(entries, columns))
    return path


def _shard_sizes(rows: int, rows_per_shard: int) -> list[int]:
    return [min(rows_per_shard, rows - start) for start in range(0, rows, rows_per_shard)]


def _write_shard(
    folder: Path, index: int, size: int, split: str, columns: Mapping[str, int]
) -> dict[str, object]:
    """Write the samples and the columns of a shard. Return its entry of the manifest."""
    rng = np.random.default_rng(index)
    labels = rng.integers(0, CLASSES, size)
    features = {}
    for name, dim in columns.items():
        features[name] = rng.standard_normal((size, dim), np.float32).astype(np.float16)
        features[name][np.arange(size), labels] += 1
    return _write_rows(folder, index, features, {"label": labels, "split": [split] * size})


def write_features(
    folder: Path, features: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> str:
    """Write a finished feature store of one shard, unless it exists, and return its path.

    Args:
        folder: the store.
        features: column → float16, shape (rows, dim).
        metadata: column of the samples table → one value per row.
    """
    if not (folder / "manifest.json").exists():
        entry = {"name": shard_name(0), **_write_rows(folder, 0, features, metadata)}
        columns = {name: values.shape[1] for name, values in features.items()}
        files.write_json(str(folder / "manifest.json"), _manifest([entry], columns))
    return str(folder)


def _write_rows(
    folder: Path, index: int, features: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> dict[str, object]:
    """Write given samples and columns as a shard. Return its entry of the manifest."""
    size = len(next(iter(features.values())))
    keys = [f"{index:05d}-{row:06d}" for row in range(size)]
    table = pa.table(
        {
            "__key__": keys,
            "status": ["ok"] * size,
            "reason": pa.nulls(size, pa.string()),
            "error": pa.nulls(size, pa.string()),
            **metadata,
        }
    )
    entry = {"records": size, "keys_sha256": keys_digest(keys)}
    samples = files.join(SAMPLES, f"{shard_name(index)}.parquet")
    with files.create(str(folder / samples)) as output:
        pq.write_table(table, output)
    _write_receipt(folder, index, SAMPLES, _CONFIG_HASH, entry, {samples: output.info()})
    for name, values in features.items():
        shape = FeatureShape(values.shape[1])
        batch = make_column_batch(list(values), [OK] * size, shape)
        rows = files.join(name, f"{shard_name(index)}.arrow")
        with (
            files.create(str(folder / rows)) as output,
            pa.ipc.new_file(output, column_schema(shape)) as file,
        ):
            file.write_batch(batch)
        recorded = {rows: output.info()}
        _write_receipt(folder, index, name, _fingerprint(shape.dim), entry, recorded)
    return entry


def _write_receipt(
    folder: Path,
    index: int,
    table: str,
    config_hash: str,
    entry: dict[str, Any],
    recorded: dict[str, RecordedFile],
) -> None:
    receipt = Receipt(
        shard=shard_name(index),
        config_hash=config_hash,
        out=entry["records"],
        files=recorded,
        **entry,
    )
    receipt.write(TableFiles(str(folder), table, newest_format("features")).receipts)


def _fingerprint(dim: int) -> str:
    return f"random-{dim}"


def _manifest(shards: list[dict[str, Any]], columns: Mapping[str, int]) -> dict[str, object]:
    rows = sum(shard["records"] for shard in shards)
    totals = {
        "records": rows,
        "out": rows,
        "bytes_read": 0,
        "bytes_written": 0,
        "rejected": {},
        "status": {"ok": rows},
        "problems": {},
    }
    return {
        "format": newest_format("features"),
        "kind": "features",
        "config": {},
        "config_hash": _CONFIG_HASH,
        "columns": {
            name: {
                "name": name,
                "modality": name,
                "dim": dim,
                "fingerprint": _fingerprint(dim),
                "encoder": {"name": "random"},
            }
            for name, dim in columns.items()
        },
        "shards": shards,
        "totals": {**totals, "columns": dict.fromkeys(columns, totals)},
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
