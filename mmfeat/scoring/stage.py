"""The scoring stage: models + features or shards → predictions, one row per input record.

OUTPUT/data/00000.parquet    __key__, status, reason, prediction, w_<column> with the weight of
                             each modality; probability and p_<class>, or lists of the most
                             likely ones, if the model has classes; then the
                             columns of --columns
OUTPUT/report.html           histograms of classes and confidence, missing features, drift

A retried record has only the row of its last try.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.errors import DamagedFileError
from mmfeat.prediction_files import data_folder, remove_partitions, write_rows
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.finishing import FinishedPredictions, check_drift, summarize
from mmfeat.scoring.inputs import RowReader, ScoringInput, ShardRows, open_input
from mmfeat.scoring.loaded_scoring import LoadedScoring
from mmfeat.scoring.monitoring import Monitoring
from mmfeat.scoring.predicting import ScoredModels, check_has_fusion, find_prefixes
from mmfeat.scoring.rows import (
    copy_columns,
    make_rows,
)
from mmfeat.scoring.settings import check_models, describe_models, find_columns
from mmfeat.scoring.shard_receipt import make_receipt
from mmfeat.storage import FileSizes, files
from mmfeat.store import (
    Receipt,
    ShardAttempt,
    ShardTask,
    Stage,
    check_finished,
    check_output,
    is_fresh,
    match_run,
    open_run,
    read_receipt,
    read_receipts,
)
from mmfeat.system import progress


class Scoring(Stage):
    """The stage behind `mmfeat score`."""

    name = "score"

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.output = config.output
        self._input: ScoringInput | None = None
        self._labels: list[str] = []
        self._copied: list[str] = []
        self._scored_before = Monitoring()
        self.counts_partial = len(config.models) > 1

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        modules = self._input.modules if self._input else []
        return [*super().worker_modules, "mmfeat.models.saved_model", *modules]

    @property
    def outputs(self) -> list[str]:
        """The predictions, and the features if they are kept."""
        return [self.output, *filter(None, [self.config.keep_features])]

    @property
    def _source(self) -> ScoringInput:
        if self._input is None:
            self._input = open_input(self.config)
        return self._input

    def check_inputs(self) -> None:
        """Check the models, the input, the output and the names of columns."""
        check_output(self.output, "predictions")
        for model in self.config.models:
            check_finished(model, "model")
            if self.config.embedding:
                check_has_fusion(model)
        find_prefixes(self.config.models)
        self._source.check()
        if self.config.columns or self.config.partition_by or self.config.where:
            find_columns(self.config, self._source.read_schema())
        if self.config.keys:
            from mmfeat.sharding import check_keys  # late: few runs need it

            check_keys(self.config.keys)

    def plan(self) -> list[ShardTask]:
        """Return one task per shard of the input.

        Raises:
            MmfeatError: the models were not trained on the columns of the input, its encoders are
                others, the samples table lacks a column, or the output has other predictions.
        """
        check_output(self.output, "predictions")
        models, source = ScoredModels.load(self.config.models), self._source
        check_models(models, self.config)
        source.open(models)
        self._labels = [column.label for column in models.columns.values()]
        settings = describe_models(models, self.config)
        settings |= {source.kind: source.config_hash}
        columns = find_columns(self.config, source.samples_schema)
        self._copied, settings = columns.names, settings | columns.settings
        details = {"columns": {name: column.facts for name, column in models.columns.items()}}
        match_run(self.output, "predictions", settings, details)
        source.prepare()
        self.config_hash = open_run(self.output, "predictions", settings, details)
        source.start()
        self.worker_devices, self.max_processes, self.min_parallel_records = source.limits
        tasks = [
            ShardTask(shard["name"], shard["records"], source=shard) for shard in source.shards
        ]
        self._scored_before = Monitoring()
        tasks = self._find_done(tasks)
        check_drift(self._scored_before, models.statistics, self.config.max_drift)
        return tasks

    def _find_done(self, tasks: Sequence[ShardTask]) -> list[ShardTask]:
        """Return the tasks with what an earlier run has done, and count its records."""
        sizes = FileSizes()
        receipts = read_receipts(
            self.output,
            (task.shard for task in tasks),
            self.config_hash,
            expected_files=self._files,
            sizes=sizes,
        )
        reader: RowReader | None = None
        found = []
        for task, receipt in zip(tasks, receipts, strict=True):
            if receipt and reader is None and self._source.retry_digest:
                reader = self._source.load(None)
            if receipt is None or not self._is_final(receipt, task, reader):
                found.append(replace(task, fresh=is_fresh(self.output, task.shard, sizes)))
                continue
            found.append(replace(task, done=True))
            if self.config.max_drift:
                self._scored_before.add(Monitoring.of_receipt(receipt))
        return found

    def _is_final(self, receipt: Receipt, task: ShardTask, reader: RowReader | None) -> bool:
        """Return whether the rows of a shard are those of the input as it is now."""
        if not self._source.is_final(receipt.source, task):
            return False
        if receipt.source.get("superseded") == self._source.retry_digest:
            return True
        # A retry since then may have replaced rows of this shard: they must be dropped.
        reader = reader or self._source.load(None)
        try:
            samples = reader.read_samples(task, ["__key__", "status"])
        except DamagedFileError:
            return False
        replaced = int(reader.replaced_rows(samples, task.shard).sum())
        left_out = receipt.source.get("left_out", 0)
        return receipt.records + left_out == len(samples) - replaced

    def is_made(self, task: ShardTask) -> bool:
        """Return whether a shard has been made since it was planned."""
        return self._read_made(task, None) is not None

    def _read_made(self, task: ShardTask, reader: RowReader | None) -> Receipt | None:
        receipt = read_receipt(
            self.output, task.shard, self.config_hash, expected_files=self._files
        )
        return receipt if receipt and self._is_final(receipt, task, reader) else None

    @property
    def _files(self) -> list[str]:
        """The file of a shard, with `{}` for its name; a partition may have any files."""
        return [] if self.config.partition_by else [files.join(self._data_folder, "{}.parquet")]

    @cached_property
    def _data_folder(self) -> str:
        """Folder of the rows, relative to the output."""
        return data_folder(self.output)

    def load(self) -> LoadedScoring:
        """Load the models, and open the input."""
        return LoadedScoring.load(self.config, self._source, self.processes, self._scored_before)

    def use_device(self, device: str) -> None:
        """Load the encoders onto one GPU."""
        self._source.use_device(device)

    def parallel_shards(self, loaded: LoadedScoring) -> int:
        """Return how many shards a process makes at the same time."""
        return loaded.reader.parallel_shards

    def process(self, task: ShardTask, loaded: LoadedScoring) -> Receipt:
        """Score one shard."""
        started = time.monotonic()
        if not task.fresh and (made := self._read_made(task, loaded.reader)):
            progress.RECORDS_DONE.add(task.records)
            return made
        names = ["__key__", "status", *self._copied, *loaded.selection.columns]
        rows_of_shard = loaded.reader.read(
            task,
            [*dict.fromkeys(names)],
            lambda samples: self._select(samples, task.shard, loaded),
        )
        kept = np.flatnonzero(rows_of_shard.selected)
        table, monitoring = self._score(task, rows_of_shard, kept, loaded)
        attempt = ShardAttempt(self.output, task.shard, fresh=task.fresh)
        if self.config.partition_by and not task.fresh:
            remove_partitions(self.output, self._data_folder, task.shard)
        partition_by = ""
        if self.config.partition_by:  # a name that predictions have gets a prefix
            copied = table.column_names[-len(self._copied) :]
            partition_by = copied[self._copied.index(self.config.partition_by)]
        with progress.METRICS.timed("write"):
            table = write_rows(attempt, self._data_folder, task.shard, table, partition_by)
        receipt = make_receipt(
            task,
            table,
            rows_of_shard,
            monitoring,
            config_hash=self.config_hash,
            source={
                self._source.kind: self.config.input,
                "keys_sha256": task.source["keys_sha256"],
                "superseded": self._source.retry_digest,
            },
            states=("ok", "partial", "failed") if self.counts_partial else ("ok", "failed"),
        )
        receipt.seconds = round(time.monotonic() - started, 3)
        attempt.commit(receipt)
        if not loaded.reader.counts_records:
            progress.RECORDS_DONE.add(task.records)
        loaded.check_drift(monitoring, self.config.max_drift)
        return receipt

    def _select(
        self, samples: pa.Table, shard: str, loaded: LoadedScoring
    ) -> tuple[np.ndarray, np.ndarray]:
        replaced = loaded.reader.replaced_rows(samples, shard)
        return loaded.selection(samples) & ~replaced, replaced

    def _score(
        self, task: ShardTask, shard: ShardRows, kept: np.ndarray, loaded: LoadedScoring
    ) -> tuple[pa.Table, Monitoring]:
        """Return the rows of a shard that are kept, and numbers about them."""
        samples, monitoring = shard.samples, Monitoring()
        alive = kept[~np.isin(kept, [*task.deadly])] if task.deadly else kept
        outputs = []
        with progress.METRICS.timed("predict"):
            for model in loaded.models.models:
                output = loaded.runner.run(model.loaded, shard.columns, alive)
                monitoring.add_output(model, output)
                outputs.append((model, output.spread(alive, len(samples))))
        monitoring.add_rows(shard.columns, kept, loaded.models.statistics)
        table = make_rows(
            outputs, shard.columns, samples["__key__"], task.deadly, self.config.top_k
        )
        table = copy_columns(samples, self._copied, table)
        return (table if len(kept) == len(table) else table.take(pa.array(kept))), monitoring

    def try_records(self, task: ShardTask, rows: range, loaded: LoadedScoring) -> None:
        """Score some records, and write nothing."""
        columns = loaded.reader.try_records(task, rows)
        if columns is None:
            return
        for model in loaded.models.models:
            loaded.runner.run(model.loaded, columns, np.array(rows, np.int64))

    def release(self) -> None:
        """Free the memory of the encoders."""
        self._source.release()

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the counts of all shards, then write the report and the manifest."""
        if kept := self._source.kept_features:
            kept.finish(shards)
        finished = FinishedPredictions(self.config, self._source, self._files)
        return finished.write_manifest(self.config_hash, shards)

    def clean_up(self, shards: Sequence[str]) -> None:
        """Free the memory of the encoders."""
        self._source.release()

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return the feature columns, drift, and the folder to open in other tools."""
        facts: dict[str, Any] = {"columns": ", ".join(self._labels)}
        return facts | summarize(manifest, self.output)
