"""What benchmarks read out of a feature store."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmfeat.features.store import FeatureStore


def marginal_seconds(store: Path, column: str) -> float:
    """Seconds spent in the shards of a column, without start-up; columns made in one run share
    them."""
    receipts = sorted((store / column).glob("*_stats.json"))
    return float(sum(json.loads(path.read_text())["seconds"] for path in receipts))


def settled_precision(store: Path, column: str) -> str:
    """What the column was made in."""
    facts = json.loads((store / column / "column.json").read_text())
    return str(facts["settled"]["precision"])


def key_to_vector(store: Path, column: str) -> dict[str, np.ndarray]:
    """Key → feature, of all records that have one."""
    features = FeatureStore(str(store))
    vectors: dict[str, np.ndarray] = {}
    for shard, columns in features.read([column]):
        keys = features.read_samples(shard, ["__key__"])["__key__"].to_pylist()
        found = columns[column]
        vectors |= {key: found.features[i] for i, key in enumerate(keys) if found.present[i]}
    return vectors


def cosines(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of all keys that both have.

    Raises:
        ValueError: there are none.
    """
    keys = [key for key in a if key in b]
    if not keys:
        raise ValueError("the two have no key in common")
    left, right = (np.stack([some[key] for key in keys]).astype(np.float64) for some in (a, b))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / lengths
