"""The list of records whose modalities disagree most, as it is read for --drop-misaligned."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.records.keys import key_hash
from mmfeat.store import files
from mmfeat.store.manifest import read_manifest

MISALIGNED_FILE = "misaligned.parquet"
"""`__key__`, shard, split, misalignment, alignment, rank; the most misaligned first."""

DEFAULT_FRACTION = 0.05


@dataclass(frozen=True)
class DroppedRecords:
    """Records that training shall not see.

    Attributes:
        hashes: uint64, ascending; of their keys.
        facts: what config.json holds of them.
    """

    hashes: np.ndarray
    facts: dict[str, Any]

    def among(self, keys: Sequence[str]) -> np.ndarray:
        """Which of the keys are such records, bool, shape (keys,)."""
        return np.isin(_hashes(keys), self.hashes)


def read_dropped(asked: str) -> DroppedRecords | None:
    """The first records of a list.

    Args:
        asked: PATH or PATH:FRACTION, of all that the list holds; empty = none.

    Raises:
        MmfeatError: no list there, or no such fraction.
    """
    if not asked:
        return None
    path, fraction = _parse(asked)
    manifest = read_manifest(path, "ranking")
    # Of all records that were ranked, also where --most cut the list.
    count = min(round(fraction * manifest["totals"]["ranked"]), manifest["totals"]["listed"])
    digest = hashlib.sha256()
    parts = [np.empty(0, np.uint64)]
    for keys in _first_keys(path, count):
        for key in keys:
            digest.update(key.encode() + b"\n")
        parts.append(_hashes(keys))
    return DroppedRecords(
        np.sort(np.concatenate(parts)),
        {"path": path, "fraction": fraction, "records": count, "keys_sha256": digest.hexdigest()},
    )


def _parse(asked: str) -> tuple[str, float]:
    path, _, last = asked.rpartition(":")
    try:
        fraction = float(last)
    except ValueError:
        return asked, DEFAULT_FRACTION
    if not path:
        return asked, DEFAULT_FRACTION
    if not 0 < fraction < 1:
        raise MmfeatError("the fraction of --drop-misaligned must lie in (0, 1)", got=last)
    return path, fraction


def _first_keys(path: str, count: int) -> Iterator[list[str]]:
    with (
        files.open_input(files.join(path, MISALIGNED_FILE)) as file,
        pq.ParquetFile(file) as table,
    ):
        for batch in table.iter_batches(batch_size=8192, columns=["__key__"]):
            if count <= 0:
                return
            yield batch["__key__"].to_pylist()[:count]
            count -= len(batch)


def _hashes(keys: Sequence[str]) -> np.ndarray:
    return np.array([int(key_hash(key), 16) for key in keys], np.uint64)
