"""Read the list of misaligned records for --drop-misaligned."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.records import key_hash
from mmfeat.storage import files
from mmfeat.store import iter_parquet, read_manifest

MISALIGNED_FILE = "misaligned.parquet"
"""`__key__`, shard, split, misalignment, alignment, rank; the most misaligned record first."""

DEFAULT_FRACTION = 0.05


@dataclass(frozen=True)
class DroppedRecords:
    """Records excluded from training.

    Attributes:
        hashes: uint64, ascending: hashes of the keys.
        settings: entry of config.json.
    """

    hashes: np.ndarray
    settings: dict[str, Any]

    def contains(self, keys: Sequence[str]) -> np.ndarray:
        """Return which keys are dropped: bool, shape (keys,)."""
        return np.isin(_hash_keys(keys), self.hashes)


def read_dropped(option: str) -> DroppedRecords | None:
    """Read the first records of a ranking.

    Args:
        option: value of --drop-misaligned, PATH or PATH:FRACTION. Empty = no ranking.

    Raises:
        MmfeatError: the path has no ranking, or the fraction is not in (0, 1).
    """
    if not option:
        return None
    path, fraction = _parse(option)
    totals = read_manifest(path, "ranking")["totals"]
    # The fraction counts all ranked records, even if --most shortened the list.
    count = min(round(fraction * totals["ranked"]), totals["listed"])
    digest = hashlib.sha256()
    hashes = [np.empty(0, np.uint64)]
    for keys in _first_keys(path, count):
        for key in keys:
            digest.update(key.encode() + b"\n")
        hashes.append(_hash_keys(keys))
    return DroppedRecords(
        np.sort(np.concatenate(hashes)),
        {"path": path, "fraction": fraction, "records": count, "keys_sha256": digest.hexdigest()},
    )


def _parse(option: str) -> tuple[str, float]:
    path, _, last = option.rpartition(":")
    try:
        fraction = float(last)
    except ValueError:
        return option, DEFAULT_FRACTION
    if not path:
        return option, DEFAULT_FRACTION
    if not 0 < fraction < 1:
        raise MmfeatError("the fraction of --drop-misaligned must be in (0, 1)", got=last)
    return path, fraction


def _first_keys(path: str, count: int) -> Iterator[list[str]]:
    for batch in iter_parquet(files.join(path, MISALIGNED_FILE), ["__key__"]):
        if count <= 0:
            return
        yield batch["__key__"].to_pylist()[:count]
        count -= len(batch)


def _hash_keys(keys: Sequence[str]) -> np.ndarray:
    return np.array([int(key_hash(key), 16) for key in keys], np.uint64)
