"""Rows that count no more: their records failed at first and worked when they were tried again.

A record's row of the first time stays `failed` where it is, for the rows of feature columns stand
beside it; its new row is in a further shard. Who counts records or scores them leaves the first
row out.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmfeat.store import files
from mmfeat.store.directory import digest

FURTHER = "further"
"""In a manifest's list of shards: this one holds records that were tried again."""


class Superseded:
    """Tells which rows of a samples table are superseded.

    Args:
        folder: where the tables are, one a shard.
        shards: the manifest's list of them.
    """

    def __init__(self, folder: str, shards: Sequence[Mapping[str, Any]]) -> None:
        self._folder = folder
        self._further = {s["name"]: s["keys_sha256"] for s in shards if s.get(FURTHER)}

    @property
    def digest(self) -> str:
        """Changes with the further shards; empty where there are none."""
        return digest(self._further) if self._further else ""

    def among(self, table: pa.Table) -> np.ndarray:
        """Which rows are superseded.

        Args:
            table: with `__key__` and `status`.

        Returns:
            bool, shape (rows,).
        """
        if not self._further:
            return np.zeros(len(table), bool)
        failed = pc.equal(table["status"].cast(pa.string()), "failed")
        if not pc.any(failed).as_py():
            return np.zeros(len(table), bool)
        again = pc.is_in(table["__key__"].cast(pa.string()), value_set=self._keys)
        return np.asarray(pc.and_(failed, again))

    @cached_property
    def _keys(self) -> pa.Array:
        found = [pa.array([], pa.string())]
        for name in self._further:
            with files.open_input(files.join(self._folder, f"{name}.parquet")) as file:
                keys = pq.read_table(file, columns=["__key__"])["__key__"]
            found.extend(keys.cast(pa.string()).chunks)
        return pa.concat_arrays(found)
