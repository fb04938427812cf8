"""The rows of each kind of store: shards, features, predictions, models, rankings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any

import numpy as np
import pyarrow as pa

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import SAMPLES as SAMPLES_TABLE
from mmfeat.features import FeatureStore, TableFiles
from mmfeat.inspection.previews import (
    find_shards_of_features,
    find_source_shards,
    is_followed,
    read_any_receipt,
)
from mmfeat.inspection.rows.store_rows import REASON_OF, StoreRows
from mmfeat.prediction_files import iter_rows
from mmfeat.storage import files
from mmfeat.store import (
    CONFIG_FILE,
    RetriedRows,
    check_folder,
    json_digest,
    open_checked,
    open_parquet,
    open_recorded,
    read_manifest,
    read_parquet,
    require_receipt,
)

_PREDICTIONS = "predictions.parquet"
_RANKING = "misaligned.parquet"


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

    def open_rows(self, shard: str) -> Any:
        """Open a shard of one file; `iter_batches` also reads the files of partitions."""
        raise NotImplementedError

    def iter_batches(self, shard: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a shard in batches. A shard may have a file for each partition."""
        return iter_rows(self.path, require_receipt(self.path, shard), columns)

    @property
    def classes(self) -> list[str]:
        """Classes of the predictions, those of the first model if there are several."""
        models = self.config.get("models")
        first = models[0] if isinstance(models, list) and models else self.config
        classes = first.get("classes") if isinstance(first, dict) else None
        return [str(name) for name in classes] if isinstance(classes, list) else []

    def find_shards(self) -> tuple[str | None, str]:
        """Find the shards through a receipt, which names them or the features."""
        receipt = read_any_receipt(self.path)
        shards = receipt.source.get("shards") if receipt else None
        if isinstance(shards, str) and is_followed(shards):
            return shards, ""
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
        value, shards = self.config.get("features"), self.config.get("shards")
        if isinstance(shards, str):  # encoded on the way: the hash of features of these shards
            return json_digest({"shards": shards})
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
    receipt = require_receipt(folder, shard)
    if name not in receipt.files:
        raise DamagedFileError(f"the receipt of shard {shard} must have {name}", got=receipt.files)
    return receipt.files[name]
