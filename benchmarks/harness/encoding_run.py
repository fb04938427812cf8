"""Runs of programs that encode shards: their resources and the features they wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.harness.measure import Usage
from benchmarks.harness.run import run_mmfeat
from mmfeat.features import FeatureStore


@dataclass
class EncodingRun:
    """One run of a program over all records."""

    usage: Usage
    marginal_s: float
    """Seconds spent in the shards, without start-up."""
    vectors: Mapping[str, Mapping[str, np.ndarray]]
    """Column → key → feature."""
    precision: Mapping[str, str] = field(default_factory=dict)
    """Column → precision; empty if the program has no such setting."""


def run_extract(
    shards: Path, output: Path, encoders: Mapping[str, str], threads: int, *flags: str
) -> EncodingRun:
    """Run `mmfeat extract` on the CPU.

    Args:
        shards: shard store.
        output: feature store to write.
        encoders: column → encoder.
        threads: threads of the run.
        flags: more flags of the command.

    Raises:
        RuntimeError: the command failed.
    """
    encoder_flags = [f"--encoder={column}={encoder}" for column, encoder in encoders.items()]
    device_flags = ("--device=cpu", f"--threads={threads}", "--remeasure")
    usage = run_mmfeat("extract", shards, output, *encoder_flags, *flags, *device_flags)
    return EncodingRun(
        usage,
        _seconds_in_shards(output, next(iter(encoders))),
        vectors={column: read_vectors(output, column) for column in encoders},
        precision={column: _read_precision(output, column) for column in encoders},
    )


def cosine_similarities(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the cosine similarity of both vectors of each key that a and b share.

    Raises:
        ValueError: a and b share no key.
    """
    keys = [key for key in a if key in b]
    if not keys:
        raise ValueError("the two sets of vectors share no key")
    left, right = (np.stack([v[key] for key in keys]).astype(np.float64) for v in (a, b))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / lengths


def _seconds_in_shards(store: Path, column: str) -> float:
    """Return the seconds spent in the shards of a column; columns of one run share them."""
    receipts = sorted((store / "columns" / column).glob("*_stats.json"))
    return float(sum(json.loads(path.read_text())["seconds"] for path in receipts))


def _read_precision(store: Path, column: str) -> str:
    metadata = json.loads((store / "columns" / column / "column.json").read_text())
    return str(metadata["settled"]["precision"])


def read_vectors(store: Path, column: str) -> dict[str, np.ndarray]:
    """Return key → feature of all records that have a feature."""
    features = FeatureStore(str(store))
    vectors: dict[str, np.ndarray] = {}
    for shard, columns in features.read([column]):
        keys = features.read_samples(shard, ["__key__"])["__key__"].to_pylist()
        part = columns[column]
        vectors |= {key: part.features[i] for i, key in enumerate(keys) if part.present[i]}
    return vectors
