"""The scoring stage: model + features → predictions, one row per input record.

OUTPUT/data/00000.parquet    __key__, status, reason, prediction, w_<column> with the weight of
                             each modality; probability and p_<class> if the model has classes; then
                             the columns of --columns

A retried record has only the row of its last try.
"""

import time
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.prediction_rows import choose_columns, copy_columns, find_reasons, make_table
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    ShardAttempt,
    ShardTask,
    Stage,
    check_output,
    format_counts,
    keys_digest,
    open_run,
    read_format,
    read_manifest,
    read_receipt,
    require_receipts,
    sum_receipts,
    write_manifest,
)
from mmfeat.system import progress

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel


class ScoringInputs(NamedTuple):
    """The model and the features, loaded once per process."""

    model: "LoadedModel"
    features: FeatureStore


class Scoring(Stage):
    """The stage behind `mmfeat score`."""

    name = "score"

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.output = config.output
        self._labels: list[str] = []
        self._sample_columns: list[str] = []
        self._key_digests: dict[str, str] = {}
        self._retry_digest = ""

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        return [*super().worker_modules, "mmfeat.models.saved_model"]

    def plan(self) -> list[ShardTask]:
        """Return one task per shard of the features.

        Raises:
            MmfeatError: the model was not trained on these feature columns, or the samples table
                lacks a column of --columns.
        """
        check_output(self.output, "predictions")
        model, features = self.load()
        model.check_columns(features.columns)
        self._labels = [column.label for column in model.columns]
        model_files = read_manifest(self.config.model, "model")["files"]
        settings = {
            "model": model_files["model.safetensors"]["sha256"],
            **model.task.config,
            "columns": {column.name: column.fingerprint for column in model.columns},
            "features": features.manifest["config_hash"],
        }
        self._sample_columns = choose_columns(self.config.columns, features)
        if self._sample_columns:
            settings["sample_columns"] = self._sample_columns
        details = {"columns": {column.name: column.facts for column in model.columns}}
        self.config_hash = open_run(self.output, "predictions", settings, details)
        self._key_digests = {s["name"]: s["keys_sha256"] for s in features.manifest["shards"]}
        self._retry_digest = features.retried_rows.digest
        return [
            ShardTask(shard, records, done=self._is_done(shard, features))
            for shard, records in features.shards.items()
        ]

    def _is_done(self, shard: str, features: FeatureStore) -> bool:
        receipt = self._read_receipt(shard)
        if receipt is None or receipt.source.get("keys_sha256") != self._key_digests[shard]:
            return False
        if receipt.source.get("superseded") == self._retry_digest:
            return True
        # A retry since then may have replaced rows of this shard: they must be dropped.
        try:
            samples = features.read_samples(shard, ["__key__", "status"])
        except DamagedFileError:
            return False
        replaced = int(features.retried_rows.mask(samples, shard).sum())
        return receipt.records == len(samples) - replaced

    def _read_receipt(self, shard: str) -> Receipt | None:
        return read_receipt(self.output, shard, self.config_hash, expected_files=self._files)

    @property
    def _files(self) -> list[str]:
        """The file of a shard, with `{}` for its name."""
        return [files.join(self._data_folder, "{}.parquet")]

    def load(self) -> ScoringInputs:
        """Load the model and open the feature store."""
        from mmfeat.models.saved_model import load_model  # imports torch

        return ScoringInputs(load_model(self.config.model), FeatureStore(self.config.features))

    def process(self, task: ShardTask, loaded: ScoringInputs) -> Receipt:
        """Score one shard."""
        started = time.monotonic()
        model, features = loaded
        made = self._read_receipt(task.shard)
        if made and self._is_done(task.shard, features):  # by another run or attempt since the plan
            progress.RECORDS_DONE.add(task.records)
            return made
        names = dict.fromkeys(["__key__", "status", *self._sample_columns])
        with progress.METRICS.timed("read"):
            columns = {c.name: features.read_column(c.name, task.shard) for c in model.columns}
            samples = features.read_samples(task.shard, [*names])
        rows = np.array([row for row in range(len(samples)) if row not in task.deadly], np.int64)
        with progress.METRICS.timed("predict"):
            predictions = model.predict_shard(columns, rows).spread(rows, len(samples))
        reasons = find_reasons(predictions.scorable, columns, task.deadly)
        table = make_table(model, predictions, samples["__key__"], reasons)
        table = copy_columns(samples, self._sample_columns, table)
        table = table.filter(pa.array(~features.retried_rows.mask(samples, task.shard)))
        attempt = ShardAttempt(self.output, task.shard)
        path = files.join(self._data_folder, f"{task.shard}.parquet")
        with progress.METRICS.timed("write"), attempt.create(path) as output:
            pq.write_table(table, output, compression="zstd")
        rejected = [reason for reason in table["reason"].to_pylist() if reason]
        receipt = Receipt(
            shard=task.shard,
            config_hash=self.config_hash,
            records=len(table),
            out=len(table) - len(rejected),
            rejected=dict(Counter(rejected)),
            status={"ok": len(table) - len(rejected), "failed": len(rejected)},
            keys_sha256=keys_digest(table["__key__"].to_pylist()),
            source={
                "features": self.config.features,
                "keys_sha256": self._key_digests[task.shard],
                "superseded": self._retry_digest,
            },
            bytes_read=sum(column.features.nbytes for column in columns.values()),
            seconds=round(time.monotonic() - started, 3),
        )
        attempt.commit(receipt)
        progress.RECORDS_DONE.add(task.records)
        return receipt

    def try_records(self, task: ShardTask, rows: range, loaded: ScoringInputs) -> None:
        """Score some records, and write nothing."""
        model, features = loaded
        columns = {c.name: features.read_column(c.name, task.shard) for c in model.columns}
        model.predict_shard(columns, np.array(rows, np.int64))

    @cached_property
    def _data_folder(self) -> str:
        """Folder of the rows, relative to the output."""
        return _data_folder(self.output)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the counts of all shards, then write the manifest."""
        receipts = require_receipts(self.output, shards, expected_files=self._files)
        totals = sum_receipts(receipts)
        if not totals["out"]:
            raise MmfeatError(
                f"none of the {totals['records']} records of {self.config.features} can be scored "
                f"({format_counts(totals['rejected'])})",
            )
        return write_manifest(
            self.output,
            "predictions",
            self.config_hash,
            shards=[
                {"name": r.shard, "records": r.records, "keys_sha256": r.keys_sha256}
                for r in receipts
            ],
            totals=totals,
        )

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return the feature columns, and the folder to open in other tools."""
        columns = ", ".join(self._labels)
        return {"columns": columns, "predictions (Parquet)": predictions_folder(self.output)}


def predictions_folder(store: str) -> str:
    """Return the folder of a store's Parquet files: all rows, and nothing else since format 2."""
    return files.join(store, folder) if (folder := _data_folder(store)) else store


def _data_folder(store: str) -> str:
    return "" if read_format(store, "predictions") == 1 else "data"
