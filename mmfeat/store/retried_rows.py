"""Rows of records that failed at first and were retried with success.

The first row of such a record stays in its table with status `failed`, because the rows of feature
columns align with the table. The new row is in an additional shard. Code that counts or scores
records leaves the first row out.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmfeat.store import files
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
        folder: where the tables are, one per shard.
        shards: the list of shards in the manifest.
    """

    def __init__(self, folder: str, shards: Sequence[Mapping[str, Any]]) -> None:
        self._folder = folder
        self._retry_shards = {s["name"]: s["keys_sha256"] for s in shards if s.get(RETRY_SHARD)}

    @property
    def digest(self) -> str:
        """A digest of the retry shards; empty if the store has none."""
        return json_digest(self._retry_shards) if self._retry_shards else ""

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return which rows a retry has replaced.

        Args:
            table: rows with `__key__` and `status`.

        Returns:
            bool, shape (rows,).
        """
        if not self._retry_shards:
            return np.zeros(len(table), bool)
        failed = pc.equal(table["status"].cast(pa.string()), "failed")
        if not pc.any(failed).as_py():
            return np.zeros(len(table), bool)
        retried = pc.is_in(table["__key__"].cast(pa.string()), value_set=self._retried_keys)
        return np.asarray(pc.and_(failed, retried))

    @cached_property
    def _retried_keys(self) -> pa.Array:
        chunks = [pa.array([], pa.string())]
        for name in self._retry_shards:
            with files.open_input(files.join(self._folder, f"{name}.parquet")) as file:
                keys = pq.read_table(file, columns=["__key__"])["__key__"]
            chunks.extend(keys.cast(pa.string()).chunks)
        return pa.concat_arrays(chunks)
