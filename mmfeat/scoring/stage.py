"""The scoring stage: model + features → predictions, one row per input record.

OUTPUT/data/00000.parquet    __key__, status, reason, prediction, w_<column> with the weight of
                             each modality; probability and p_<class>, or lists of the most
                             likely ones, if the model has classes; then the
                             columns of --columns

A retried record has only the row of its last try.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.prediction_rows import (
    choose_columns,
    copy_columns,
    find_reasons,
    list_length,
    make_table,
)
from mmfeat.storage import FileSizes, files
from mmfeat.store import (
    Receipt,
    ShardAttempt,
    ShardTask,
    Stage,
    check_finished,
    check_output,
    format_counts,
    is_fresh,
    keys_digest,
    list_receipts,
    open_run,
    read_format,
    read_manifest,
    read_receipt,
    read_receipts,
    require_receipts,
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
    counts_partial = False

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.output = config.output
        self._labels: list[str] = []
        self._sample_columns: list[str] = []
        self._retry_digest = ""

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        return [*super().worker_modules, "mmfeat.models.saved_model"]

    def check_inputs(self) -> None:
        """Check the model, the features, the output and --columns."""
        check_output(self.output, "predictions")
        check_finished(self.config.model, "model")
        check_finished(self.config.features, "features")
        if self.config.columns:
            choose_columns(self.config.columns, FeatureStore(self.config.features))

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
        if lists := list_length(model.task, self.config.top_classes):
            settings["top_classes"] = lists
        details = {"columns": {column.name: column.facts for column in model.columns}}
        self.config_hash = open_run(self.output, "predictions", settings, details)
        self._retry_digest = features.retried_rows.digest
        tasks = [
            ShardTask(shard["name"], shard["records"], source=shard)
            for shard in features.manifest["shards"]
        ]
        sizes = FileSizes()
        receipts = read_receipts(
            self.output,
            (task.shard for task in tasks),
            self.config_hash,
            expected_files=self._files,
            sizes=sizes,
        )
        return [
            replace(task, done=True)
            if receipt and self._is_final(receipt, task, features)
            else replace(task, fresh=is_fresh(self.output, task.shard, sizes))
            for task, receipt in zip(tasks, receipts, strict=True)
        ]

    def _is_final(self, receipt: Receipt, task: ShardTask, features: FeatureStore) -> bool:
        """Return whether the rows of a shard are those of the features as they are now."""
        shard = task.shard
        if receipt.source.get("keys_sha256") != task.source["keys_sha256"]:
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

    def is_made(self, task: ShardTask) -> bool:
        """Return whether a shard has been made since it was planned."""
        return self._read_made(task, FeatureStore(self.config.features)) is not None

    def _read_made(self, task: ShardTask, features: FeatureStore) -> Receipt | None:
        receipt = read_receipt(
            self.output, task.shard, self.config_hash, expected_files=self._files
        )
        return receipt if receipt and self._is_final(receipt, task, features) else None

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
        if not task.fresh and (made := self._read_made(task, features)):
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
        table = make_table(model, predictions, samples["__key__"], reasons, self.config.top_classes)
        table = copy_columns(samples, self._sample_columns, table)
        table = table.filter(pa.array(~features.retried_rows.mask(samples, task.shard)))
        attempt = ShardAttempt(self.output, task.shard, fresh=task.fresh)
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
                "keys_sha256": task.source["keys_sha256"],
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
        totals, entries = list_receipts(
            receipts,
            lambda r: {"name": r.shard, "records": r.records, "keys_sha256": r.keys_sha256},
        )
        if not totals["out"]:
            raise MmfeatError(
                f"none of the {totals['records']} records of {self.config.features} can be scored "
                f"({format_counts(totals['rejected'])})",
            )
        return write_manifest(
            self.output, "predictions", self.config_hash, shards=entries, totals=totals
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
