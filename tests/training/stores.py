"""Synthetic feature stores in the format of `mmfeat extract`."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features.column_format import (
    OK,
    FeatureShape,
    RowStatus,
    column_schema,
    make_column_batch,
)
from mmfeat.features.store import FeatureStore
from mmfeat.features.table_files import SAMPLES, TableFiles
from mmfeat.storage import OutputFile, files
from mmfeat.store import Receipt
from mmfeat.store.directory import newest_format, shard_name
from mmfeat.store.receipts import keys_digest
from training.data.dataset import Dataset, load_dataset
from training.data.split_rule import SplitRule
from training.objectives.registry import OBJECTIVES


@dataclass
class Records:
    """Content of a synthetic store.

    Attributes:
        features: column → shape (records, dim), or (records, tokens, dim); record i keeps the first
            1 + i % tokens of its tokens.
        metadata: column → one value per record.
        present: column → bool, shape (records,). Default: all present.
    """

    features: dict[str, np.ndarray]
    metadata: dict[str, Sequence[Any]]
    present: dict[str, np.ndarray] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.features.values())))


def write_store(folder: str, records: Records, shards: int = 2) -> str:
    """Write a finished feature store."""
    parts = np.array_split(np.arange(records.count), shards)
    for index, rows in enumerate(parts):
        _write_samples(folder, index, records, rows)
        for name, values in records.features.items():
            present = records.present.get(name, np.ones(records.count, bool))[rows]
            shape = _shape(values)
            batch = make_column_batch(
                [
                    _feature(vector, row) if is_present else None
                    for row, vector, is_present in zip(rows, values[rows], present, strict=True)
                ],
                [OK if is_present else RowStatus("missing", "missing") for is_present in present],
                shape,
            )
            path = files.join(folder, name, f"{shard_name(index)}.arrow")
            with (
                files.create(path) as output,
                pa.ipc.new_file(output, column_schema(shape)) as file,
            ):
                file.write_batch(batch)
    files.write_json(files.join(folder, "manifest.json"), _manifest(records, parts))
    write_receipts(folder)
    return folder


def write_receipts(folder: str) -> None:
    """Write the receipts of all files of a store, and the digests of its keys."""
    path = files.join(folder, "manifest.json")
    manifest = files.read_json(path)
    tables = {
        name: (column["fingerprint"], "arrow") for name, column in manifest["columns"].items()
    }
    for shard in manifest["shards"]:
        with files.open_input(f"{folder}/samples/{shard['name']}.parquet") as file:
            keys = pq.read_table(file)["__key__"].to_pylist()
        shard["keys_sha256"] = keys_digest(keys)
        for table, (config_hash, extension) in {
            SAMPLES: (manifest["config_hash"], "parquet"), **tables
        }.items():  # fmt: skip
            name = f"{table}/{shard['name']}.{extension}"
            output = OutputFile(io.BytesIO())
            with files.open_input(files.join(folder, name)) as file:
                output.write(file.read())
            Receipt(
                shard["name"],
                config_hash,
                records=len(keys),
                out=len(keys),
                files={name: output.info()},
                keys_sha256=shard["keys_sha256"],
            ).write(TableFiles(folder, table, manifest["format"]).receipts)
    files.write_json(path, manifest)


def _feature(vector: np.ndarray, row: int) -> np.ndarray:
    return vector if vector.ndim == 1 else vector[: 1 + row % len(vector)]


def _shape(values: np.ndarray) -> FeatureShape:
    return FeatureShape(values.shape[-1], max_tokens=values.shape[1] if values.ndim == 3 else 0)


def _write_samples(folder: str, index: int, records: Records, rows: np.ndarray) -> None:
    table = pa.table(
        {
            "__key__": [_key(row) for row in rows],
            "status": ["ok"] * len(rows),
            "reason": pa.nulls(len(rows), pa.string()),
            "error": pa.nulls(len(rows), pa.string()),
            **{name: _take(values, rows) for name, values in records.metadata.items()},
        }
    )
    path = files.join(folder, "samples", f"{shard_name(index)}.parquet")
    with files.create(path) as output:
        pq.write_table(table, output)


def _key(row: int) -> str:
    return f"key-{row:06d}"


def _take(values: Sequence[Any], rows: np.ndarray) -> pa.Array:
    return pa.array(list(values)).take(pa.array(rows))


def _manifest(records: Records, parts: Sequence[np.ndarray]) -> Mapping[str, Any]:
    return {
        "format": newest_format("features"),
        "kind": "features",
        "config": {},
        "config_hash": "0" * 64,
        "columns": {
            name: {
                "name": name,
                "modality": name,
                "dim": values.shape[-1],
                "max_tokens": _shape(values).max_tokens,
                "fingerprint": records.fingerprints.get(name, f"print-of-{name}"),
                "encoder": {"name": "synthetic"},
            }
            for name, values in records.features.items()
        },
        "shards": [
            {
                "name": shard_name(index),
                "records": len(rows),
                "keys_sha256": keys_digest([_key(row) for row in rows]),
            }
            for index, rows in enumerate(parts)
        ],
        "totals": {
            **dict.fromkeys(("records", "out"), records.count),
            **dict.fromkeys(("bytes_read", "bytes_written"), 0),
            **{name: {} for name in ("rejected", "status", "problems", "columns")},
        },
    }


def make_splits(count: int) -> list[str]:
    """Return splits: of five records three train, one validates, one tests."""
    return (["train", "train", "train", "val", "test"] * count)[:count]


def xor_records(count: int = 1500, dim: int = 4, seed: int = 0) -> Records:
    """Return records whose label is the exclusive or of the signs of two modalities."""
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (2, count)) * 2 - 1
    noise = rng.normal(0, 0.3, (2, count, dim))
    direction = np.linspace(-1, 1, dim)
    image, text = (sign[:, None] * direction + n for sign, n in zip(signs, noise, strict=True))
    return Records(
        features={"image": image, "text": text},
        metadata={
            "label": ["same" if a == b else "other" for a, b in signs.T],
            "split": make_splits(count),
        },
    )


def gap_records(count: int = 900, dim: int = 6, seed: int = 0) -> Records:
    """Return records of three classes, each modality predictive but noisy, with gaps.

    Of ten records one lacks the image, one the text, one both. Of 30 records one has no label and
    one an unknown split. The last four test records have a class without training records.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    classes = rng.integers(0, 3, count)
    features = {
        name: rng.normal(size=(3, dim))[classes] + rng.normal(0, 0.8, (count, dim))
        for name in ("image", "text")
    }
    labels: list[str | None] = [("red", "green", "blue")[c] for c in classes]
    splits = np.array(["train", "train", "train", "val", "test"])[
        rng.integers(0, 5, count)
    ].tolist()
    for row in range(7, count, 30):
        labels[row] = None if row % 60 < 30 else " "
        splits[row + 1] = "holdout"
    for row in [row for row in range(count) if splits[row] == "test" and labels[row]][-4:]:
        labels[row] = "violet"
    draw = rng.integers(0, 10, count)
    return Records(
        features=features,
        metadata={"label": labels, "split": splits, "number": number.tolist()},
        present={"image": (draw != 0) & (draw != 2), "text": (draw != 1) & (draw != 2)},
    )


def load(
    path: str, columns: Sequence[str] = (), task: str = "multiclass", access: str = "auto"
) -> Dataset:
    """Load the dataset of a synthetic store, with the target `label` and the split `split`."""
    store = FeatureStore(path)
    chosen = [store.columns[name] for name in columns or store.columns]
    return load_dataset(store, chosen, OBJECTIVES[task]("label"), SplitRule("split"), access=access)
