"""Rows of records that were tried again and have a newer row.

The earlier row of such a record stays in its table, because the rows of feature columns align with
the table. The newer row is in an additional shard. Code that counts, trains on or scores records
leaves the earlier rows out.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.store.directory import json_digest

RETRY_SHARD = "further"
"""Flag in a manifest's list of shards: this shard contains retried records."""


def retry_shards(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the shards that `--retry-failed` added to a store of shards."""
    own = manifest["config_hash"]
    return [s["name"] for s in manifest["shards"] if s.get("config_hash", own) != own]


class RetriedRows:
    """Finds the rows of a samples table that a retry has replaced.

    Args:
        shards: the list of shards in the manifest. Later shards have newer rows.
        read_keys: reads the keys of a shard, given its name.
    """

    def __init__(
        self, shards: Sequence[Mapping[str, Any]], read_keys: Callable[[str], pa.ChunkedArray]
    ) -> None:
        self._read_keys = read_keys
        self._retry_shards = {s["name"]: s["keys_sha256"] for s in shards if s.get(RETRY_SHARD)}

    @classmethod
    def of_shards(
        cls, manifest: Mapping[str, Any], read_keys: Callable[[str], pa.ChunkedArray]
    ) -> "RetriedRows":
        """Return those of a store of shards, from its manifest."""
        retried = {*retry_shards(manifest)}
        listing = [{**s, RETRY_SHARD: s["name"] in retried} for s in manifest["shards"]]
        return cls(listing, read_keys)

    @property
    def digest(self) -> str:
        """A digest of the retry shards; empty if the store has none."""
        return json_digest(self._retry_shards) if self._retry_shards else ""

    def mask(self, table: pa.Table, shard: str) -> np.ndarray:
        """Return which rows of a shard a retry has replaced.

        Args:
            table: rows with `__key__` and `status`.
            shard: name of the shard.

        Returns:
            bool, shape (rows,).
        """
        retried = self._newer_keys(shard)
        # Rows with status ok are never tried again.
        may_be_replaced = np.asarray(pc.not_equal(table["status"].cast(pa.string()), "ok"))
        if not len(retried) or not may_be_replaced.any():
            return np.zeros(len(table), bool)
        keys = table["__key__"].cast(pa.string())
        return may_be_replaced & np.asarray(pc.is_in(keys, value_set=retried))

    def _newer_keys(self, shard: str) -> pa.Array:
        """Return the keys in the retry shards after a shard."""
        names = list(self._retry_shards)
        later = names[names.index(shard) + 1 :] if shard in names else names
        return pa.concat_arrays([pa.array([], pa.string()), *(self._keys[name] for name in later)])

    @cached_property
    def _keys(self) -> dict[str, pa.Array]:
        """Retry shard → its keys."""
        return {
            name: self._read_keys(name).cast(pa.string()).combine_chunks()
            for name in self._retry_shards
        }
