"""Read chosen rows of a store of any kind in batches: memory does not grow with a shard."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.storage import files, read_document
from mmfeat.store import (
    CONFIG_FILE,
    iter_parquet,
    read_manifest,
)

REASON_OF = "\0"
"""Prefix of a column that tells why a record has no feature. No column of a table has it."""


class StoreRows(ABC):
    """The rows of one store.

    Args:
        path: the store.

    Raises:
        MmfeatError: the path has no finished store of the kind.
    """

    kind: ClassVar[str]
    owner: ClassVar[str]
    """What messages call the store."""
    has_metadata: ClassVar[bool] = False
    """Whether the rows are those of a samples table."""
    is_ranked: ClassVar[bool] = False
    """Whether the first rows are the ones to look at."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest: dict[str, Any] = read_manifest(path, self.kind)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration of the store."""
        saved = read_document(files.join(self.path, CONFIG_FILE), dict[str, Any]) or {}
        config = saved.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def classes(self) -> list[str]:
        """Classes of the predictions; empty if there are none."""
        classes = self.config.get("classes")
        return [str(name) for name in classes] if isinstance(classes, list) else []

    @property
    def shards(self) -> dict[str, int]:
        """Shard → number of its rows, those that a retry has replaced included."""
        return {shard["name"]: shard["records"] for shard in self.manifest["shards"]}

    @abstractmethod
    def open_rows(self, shard: str) -> Any:
        """Open the Parquet file of a shard, checked: a context with the path and the file."""

    def iter_batches(self, shard: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a shard in batches, those that a retry has replaced included.

        Args:
            shard: name of the shard.
            columns: names of columns; None = all.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """
        with self.open_rows(shard) as (path, file):
            for batch in iter_parquet(path, columns, file=file):
                yield pa.Table.from_batches([batch])

    def find_shards(self) -> tuple[str | None, str]:
        """Return the directory of the shards of the records, or None and the reason."""
        return self.path, ""

    def find_features(self) -> str | None:
        """Return the directory of the features that the store was made from, if it names one."""
        return None

    @property
    def features_hash(self) -> str:
        """Hash of the configuration of the features; empty if it is not known."""
        return ""

    def read_rows(self, shard: str, rows: Sequence[int]) -> pa.Table:
        """Read rows of a shard, without those that a retry has replaced.

        Args:
            shard: name of the shard.
            rows: numbers of the rows, ascending.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """
        wanted, start, parts = np.asarray(rows, np.int64), 0, []
        for batch in self.iter_batches(shard):
            taken = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
            if len(taken):
                table = batch.take(pa.array(taken))
                parts.append(self._add_facts(table, shard, taken + start))
            start += len(batch)
        table = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
        return table.filter(pa.array(~self._replaced(table, shard))) if parts else table

    def iter_rows(self, shard: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of a shard in batches, without rows that a retry has replaced.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """
        own = ["__key__", "status"] if self.has_metadata else []
        for table in self.iter_batches(shard, [*dict.fromkeys((*own, *columns))]):
            kept = table.filter(pa.array(~self._replaced(table, shard))) if own else table
            yield kept.select(list(columns))

    def read_schema(self) -> pa.Schema:
        """Return the schema of the rows of the first shard."""
        first = next(self.iter_batches(next(iter(self.shards))), None)
        return pa.schema([]) if first is None else first.schema

    def find_row(self, key: str) -> tuple[str, int] | None:
        """Return the shard and the number of the row of a key; the last one if it was retried."""
        for shard in self.shards:
            number = self.find_in_shard(shard, key)
            if number is not None and len(self.read_rows(shard, [number])):
                return shard, number  # else a retry has replaced it
        return None

    def find_in_shard(self, shard: str, key: str) -> int | None:
        """Return the number of the row of a key in a shard.

        Raises:
            KeyError: the store has no such shard.
        """
        if shard not in self.shards:  # a shard name from a file must not be used as a path
            raise KeyError(shard)
        start = 0
        for batch in self.iter_batches(shard, ["__key__"]):
            row = pc.index(batch["__key__"].cast(pa.string()), key).as_py()
            if row >= 0:
                return int(start + row)
            start += len(batch)
        return None

    def _add_facts(self, table: pa.Table, shard: str, rows: np.ndarray) -> pa.Table:
        """Return the rows with what other files of the store know of them."""
        return table

    def _replaced(self, table: pa.Table, shard: str) -> np.ndarray:
        """Return which rows a retry has replaced, bool, shape (rows,)."""
        return np.zeros(len(table), bool)
