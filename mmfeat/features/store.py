"""The feature store: a samples table and feature columns, one file of each per shard.

Each file is checked against its receipt, whole and once per process, before its rows are read.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, NotRequired, TypedDict

import pyarrow as pa
from msgspec import Meta

from mmfeat.errors import DamagedFileError
from mmfeat.features.column_format import Column, parse_columns
from mmfeat.features.column_reader import ColumnShard, read_column_file
from mmfeat.features.table_files import COLUMN_FILE, ENCODER_FLAG, SAMPLES, TableFiles
from mmfeat.storage import SMALL_BYTES, files, read_document
from mmfeat.store import (
    MANIFEST_FILE,
    RecordedFile,
    RetriedRows,
    damaged,
    open_checked,
    read_manifest,
    read_parquet,
    read_parquet_schema,
)


class _Description(TypedDict):
    """What is read of the description of a column."""

    encoder_flag: NotRequired[Annotated[str, Meta(max_length=4096)]]


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
        path = files.join(self.path, MANIFEST_FILE)
        return parse_columns(self.manifest["columns"], path)

    @cached_property
    def encoder_flags(self) -> dict[str, str]:
        """Column name → its encoder as `--encoder` names it. Older columns have none."""
        flags: dict[str, str] = {}
        for name in self.columns:
            folder = TableFiles(self.path, name, self.manifest["format"]).receipts
            path = files.join(folder, COLUMN_FILE)
            description = read_document(path, _Description, SMALL_BYTES)
            if description and ENCODER_FLAG in description:
                flags[name] = description["encoder_flag"]
        return flags

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
        return RetriedRows(self.manifest["shards"], self.read_keys)

    @cached_property
    def samples_schema(self) -> pa.Schema:
        """Schema of the samples table: `__key__`, `status`, `reason`, `error` and metadata.

        It is that of the first intact shard.
        """
        damage: DamagedFileError | None = None
        for shard in self.shards:
            try:
                path, info = self._find_samples(shard)
                with open_checked(path, info) as file:
                    return read_parquet_schema(path, file)
            except DamagedFileError as error:
                damage = damage or error
        assert damage is not None, "a manifest has shards"
        raise damage

    def read_samples(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the samples table of a shard: all columns, or the named ones.

        Raises:
            DamagedFileError: the file is damaged.
        """
        path, info = self._find_samples(shard)
        with open_checked(path, info) as file:
            return read_parquet(path, columns, file=file, rows=self.shards[shard])

    def read_keys(self, shard: str) -> pa.ChunkedArray:
        """Read the keys of a shard."""
        return self.read_samples(shard, ["__key__"])["__key__"]

    def read_column(self, column: str, shard: str) -> ColumnShard:
        """Read one shard of a feature column.

        Raises:
            DamagedFileError: the file is damaged.
        """
        description = self.columns[column]
        path, info = self._find_rows(column, shard, description.fingerprint)
        rows = read_column_file(path, info, description.shape)
        if len(rows.present) != self.shards[shard]:
            rule = f"a column of {self.shards[shard]:,} rows, as the manifest says"
            raise damaged(path, rule, f"{len(rows.present):,} rows")
        return rows

    def read(self, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, ColumnShard]]]:
        """Yield each shard's name and its named columns."""
        for shard in self.shards:
            yield shard, {column: self.read_column(column, shard) for column in columns}

    def _find_samples(self, shard: str) -> tuple[str, RecordedFile]:
        return self._find_rows(SAMPLES, shard, self.manifest["config_hash"])

    def _find_rows(self, table: str, shard: str, config_hash: str) -> tuple[str, RecordedFile]:
        table_files = TableFiles(self.path, table, self.manifest["format"])
        return table_files.find_rows(shard, config_hash, self._key_digests[shard])

    @cached_property
    def _key_digests(self) -> dict[str, str]:
        return {shard["name"]: shard["keys_sha256"] for shard in self.manifest["shards"]}
