"""The feature store: a samples table and feature columns, one file of each per shard."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import ColumnShard, read_column_file
from mmfeat.features.table_files import SAMPLES
from mmfeat.store import RetriedRows, files, read_manifest


class FeatureStore:
    """Reader of a finished feature store.

    Args:
        path: output directory of `mmfeat extract`.

    Raises:
        MmfeatError: the path has no finished feature store.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = read_manifest(path, "features")

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Column name → column."""
        return {name: Column(**facts) for name, facts in self.manifest["columns"].items()}

    @cached_property
    def shards(self) -> dict[str, int]:
        """Shard name → number of rows, in order."""
        return {shard["name"]: shard["records"] for shard in self.manifest["shards"]}

    @property
    def records(self) -> int:
        """Number of rows in the store, superseded ones included."""
        return sum(self.shards.values())

    @cached_property
    def retried_rows(self) -> RetriedRows:
        """Tells rows whose records have another one, since they were tried again."""
        return RetriedRows(files.join(self.path, SAMPLES), self.manifest["shards"])

    @cached_property
    def samples_schema(self) -> pa.Schema:
        """Schema of the samples table: `__key__`, `status`, `reason`, `error` and metadata."""
        shard = next(iter(self.shards))
        with files.open_input(self._samples_path(shard)) as file:
            return pq.read_schema(file)

    def read_samples(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the samples table of a shard: all columns, or the named ones."""
        with files.open_input(self._samples_path(shard)) as file:
            return pq.read_table(file, columns=list(columns) if columns is not None else None)

    def read_column(self, column: str, shard: str) -> ColumnShard:
        """Read one shard of a feature column."""
        return read_column_file(files.join(self.path, column, f"{shard}.arrow"))

    def read(self, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, ColumnShard]]]:
        """Yield each shard's name and its named columns."""
        for shard in self.shards:
            yield shard, {column: self.read_column(column, shard) for column in columns}

    def _samples_path(self, shard: str) -> str:
        return files.join(self.path, SAMPLES, f"{shard}.parquet")
