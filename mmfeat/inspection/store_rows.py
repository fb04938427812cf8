"""Read chosen rows of a store of any kind, with the metadata that other stores have of them.

Each class reads one kind. Rows are read in batches, so memory does not grow with a shard.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import SAMPLES as SAMPLES_TABLE
from mmfeat.features import FeatureStore, TableFiles
from mmfeat.inspection.source_shards import (
    find_shards_of_features,
    find_source_shards,
    is_followed,
    read_any_receipt,
)
from mmfeat.storage import files, read_document
from mmfeat.store import (
    CONFIG_FILE,
    RetriedRows,
    check_folder,
    iter_parquet,
    open_checked,
    open_parquet,
    open_recorded,
    read_format,
    read_manifest,
    read_parquet,
    read_parquet_schema,
    read_receipt,
)

REASON_OF = "\0"
"""Prefix of a column that tells why a record has no feature. No column of a table has it."""

_PREDICTIONS = "predictions.parquet"
_RANKING = "misaligned.parquet"


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
        with self.open_rows(shard) as (path, file):
            for batch in iter_parquet(path, file=file):
                taken = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
                if len(taken):
                    table = pa.Table.from_batches([batch]).take(pa.array(taken))
                    parts.append(self._add_facts(table, shard, taken + start))
                start += batch.num_rows
        table = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
        return table.filter(pa.array(~self._replaced(table, shard))) if parts else table

    def iter_rows(self, shard: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of a shard in batches, without rows that a retry has replaced.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """
        own = ["__key__", "status"] if self.has_metadata else []
        with self.open_rows(shard) as (path, file):
            for batch in iter_parquet(path, [*dict.fromkeys((*own, *columns))], file=file):
                table = pa.Table.from_batches([batch])
                kept = table.filter(pa.array(~self._replaced(table, shard))) if own else table
                yield kept.select(list(columns))

    def read_schema(self) -> pa.Schema:
        """Return the schema of the rows of the first shard."""
        with self.open_rows(next(iter(self.shards))) as (path, file):
            return read_parquet_schema(path, file)

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
        with self.open_rows(shard) as (path, file):
            for batch in iter_parquet(path, ["__key__"], file=file):
                row = pc.index(batch["__key__"].cast(pa.string()), key).as_py()
                if row >= 0:
                    return int(start + row)
                start += batch.num_rows
        return None

    def _add_facts(self, table: pa.Table, shard: str, rows: np.ndarray) -> pa.Table:
        """Return the rows with what other files of the store know of them."""
        return table

    def _replaced(self, table: pa.Table, shard: str) -> np.ndarray:
        """Return which rows a retry has replaced, bool, shape (rows,)."""
        return np.zeros(len(table), bool)


class ShardRows(StoreRows):
    """Rows of the tables of shards."""

    kind = "shards"
    owner = "the shards"
    has_metadata = True

    @contextmanager
    def open_rows(self, shard: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Open the table of a shard."""
        name = f"{shard}.parquet"
        path = files.join(self.path, name)
        with open_checked(path, _recorded(self.path, shard, name)) as file:
            yield path, file

    def _replaced(self, table: pa.Table, shard: str) -> np.ndarray:
        return self._retried_rows.mask(table, shard)

    @cached_property
    def _retried_rows(self) -> RetriedRows:
        return RetriedRows.of_shards(self.manifest, self._read_keys)

    def _read_keys(self, shard: str) -> pa.ChunkedArray:
        with self.open_rows(shard) as (path, file):
            return read_parquet(path, ["__key__"], file=file)["__key__"]


class FeatureRows(StoreRows):
    """Rows of the samples tables of features, with why a column has no feature."""

    kind = "features"
    owner = "the features"
    has_metadata = True

    @cached_property
    def store(self) -> FeatureStore:
        """The features."""
        return FeatureStore(self.path)

    @contextmanager
    def open_rows(self, shard: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Open the samples table of a shard."""
        tables = TableFiles(self.path, SAMPLES_TABLE, self.manifest["format"])
        path, info = tables.find_rows(shard, self.manifest["config_hash"])
        with open_checked(path, info) as file:
            yield path, file

    def find_shards(self) -> tuple[str | None, str]:
        """Find the shards through a receipt."""
        return find_shards_of_features(self.path, self.owner)

    @property
    def features_hash(self) -> str:
        """Hash of the configuration of these features."""
        return str(self.manifest["config_hash"])

    def _add_facts(self, table: pa.Table, shard: str, rows: np.ndarray) -> pa.Table:
        for name in self.store.columns:
            reasons = self.store.read_column(name, shard).reasons.take(pa.array(rows))
            table = table.append_column(f"{REASON_OF}{name}", reasons.cast(pa.string()))
        return table

    def _replaced(self, table: pa.Table, shard: str) -> np.ndarray:
        return self.store.retried_rows.mask(table, shard)


class PredictionRows(StoreRows):
    """Rows of predictions."""

    kind = "predictions"
    owner = "the predictions"

    @contextmanager
    def open_rows(self, shard: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Open the predictions of a shard."""
        folder = "" if read_format(self.path, self.kind) == 1 else "data"
        name = files.join(folder, f"{shard}.parquet") if folder else f"{shard}.parquet"
        path = files.join(self.path, name)
        with open_checked(path, _recorded(self.path, shard, name)) as file:
            yield path, file

    def find_shards(self) -> tuple[str | None, str]:
        """Find the shards through a receipt, which names the features."""
        features = self.find_features()
        if features is None:
            return None, "the predictions do not name the directory of their features"
        return find_shards_of_features(features, self.owner)

    def find_features(self) -> str | None:
        """Return the directory of the features that a receipt names."""
        receipt = read_any_receipt(self.path)
        features = receipt.source.get("features") if receipt else None
        return features if isinstance(features, str) and is_followed(features) else None

    @property
    def features_hash(self) -> str:
        """Hash of the configuration of the features."""
        value = self.config.get("features")
        return value if isinstance(value, str) else ""


class ModelRows(StoreRows):
    """Validation and test rows of a model."""

    kind = "model"
    owner = "the model"

    @cached_property
    def shards(self) -> dict[str, int]:
        """One file with all rows."""
        with self.open_rows("") as (_, file):
            return {"": open_parquet(file).metadata.num_rows}

    @contextmanager
    def open_rows(self, shard: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Open the predictions of the model."""
        path = files.join(self.path, _PREDICTIONS)
        if _PREDICTIONS not in self.manifest.get("files", {}):
            raise MmfeatError(f"a model with a page has a {_PREDICTIONS}; {self.path} has none")
        with open_recorded(self.path, _PREDICTIONS, self.manifest) as file:
            yield path, file

    def find_shards(self) -> tuple[str | None, str]:
        """Find the shards through the features that the manifest names."""
        return find_source_shards(self.config, self.manifest)

    def find_features(self) -> str | None:
        """Return the directory of the features that the manifest names."""
        path = self.manifest.get("features")
        return path if isinstance(path, str) and is_followed(path) else None

    @property
    def features_hash(self) -> str:
        """Hash of the configuration of the features."""
        features = self.config.get("features")
        found = features.get("config_hash") if isinstance(features, Mapping) else None
        return found if isinstance(found, str) else ""


class RankingRows(ModelRows):
    """Rows of a ranking, most misaligned first."""

    kind = "ranking"
    owner = "the ranking"
    is_ranked = True

    @contextmanager
    def open_rows(self, shard: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Open the ranking."""
        with open_recorded(self.path, _RANKING, self.manifest) as file:
            yield files.join(self.path, _RANKING), file

    def find_shards(self) -> tuple[str | None, str]:
        """Return the reason: a ranking has no path of its features."""
        return None, "the ranking does not name the directory of its features"

    def find_features(self) -> str | None:
        """Return None: a ranking has no path of its features."""
        return None

    @property
    def features_hash(self) -> str:
        """Hash of the configuration of the features."""
        value = self.config.get("features")
        return value if isinstance(value, str) else ""


_KINDS: dict[str, type[StoreRows]] = {
    kind.kind: kind for kind in (ShardRows, FeatureRows, PredictionRows, ModelRows, RankingRows)
}


def open_rows(path: str) -> StoreRows:
    """Open the rows of a store; those of its winner if it is a comparison.

    Raises:
        MmfeatError: the path is no store, or one without rows, or it is not finished.
    """
    saved = files.read_json(files.join(path, CONFIG_FILE))
    kind = saved.get("kind") if isinstance(saved, dict) else None
    if not isinstance(kind, str):
        check_folder(path)
        raise MmfeatError(
            f"a store of mmfeat has a {CONFIG_FILE}, and {path} has none", cure="Check the path"
        )
    if kind == "comparison":
        read_manifest(path, "comparison")
        return ModelRows(files.join(path, "winner"))
    if kind not in _KINDS:
        raise MmfeatError(f"a store with rows is one of {', '.join(_KINDS)}", got=kind)
    return _KINDS[kind](path)


def _recorded(folder: str, shard: str, name: str) -> Any:
    """Return what the receipt of a shard records of a file.

    Raises:
        DamagedFileError: the receipt is missing or lacks the file.
    """
    receipt = read_receipt(folder, shard)
    if receipt is None or name not in receipt.files:
        raise DamagedFileError(
            f"shard {shard} of {folder} is missing or damaged",
            cure="Run the command that makes it again",
        )
    return receipt.files[name]
