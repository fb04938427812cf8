"""The extraction stage: shards → feature columns, with a status for each record in each column.

OUTPUT/samples/00000.parquet        one row per input record, copied from the shards
OUTPUT/image/00000.arrow            row i is the feature of row i of the samples table
OUTPUT/columns/image/column.json    the encoder of the column
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.extraction.column_start import claim_column, continue_column, tune_column
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.decode import find_member
from mmfeat.extraction.finishing import FinishedShards, summarize_columns
from mmfeat.extraction.loaded_encoders import forget_encoders, keep_encoder, load_encoder
from mmfeat.extraction.pending import PendingTables
from mmfeat.extraction.samples_table import copy_samples_table, read_input_receipt
from mmfeat.extraction.shard_columns import ColumnTask, free_gpu_memory, make_columns, try_columns
from mmfeat.extraction.tuning import TUNING_RECORDS, TunedSettings, TuningCache
from mmfeat.features import SAMPLES, Column, TableFiles
from mmfeat.shards import ShardRecord, read_stored_shard
from mmfeat.storage import FileSizes, files
from mmfeat.store import (
    Receipt,
    ShardTask,
    Stage,
    check_finished,
    check_output,
    match_run,
    open_run,
    read_checked,
    read_format,
    read_manifest,
    retry_shards,
)
from mmfeat.system import default_threads, progress

_MIN_TEXTS, _MIN_FILES = 10_000, 1000
"""Texts, and records with images or sounds, that take a core longer than starting the workers."""


class Extraction(Stage):
    """The stage behind `mmfeat extract`."""

    name = "extract"

    def __init__(self, config: ExtractConfig) -> None:
        self.config = config
        self.output = config.output
        self.columns: dict[str, Column] = {}
        self._slots: list[str] = []
        self._specs: dict[str, EncoderSpec] = {}
        self._tuned: dict[str, TunedSettings] = {}
        self._input_shards: dict[str, dict[str, Any]] = {}
        self._retry_shards: set[str] = set()
        self._device = ""

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        schemes = {spec.module: None for spec in self._specs.values()}
        return [*super().worker_modules, *schemes]

    @property
    def receipts_folder(self) -> str:
        """Folder of the receipts of the column that is written last."""
        return self._table([SAMPLES, *self.columns][-1]).receipts

    def check_inputs(self) -> None:
        """Check the shards, the output, and the names of encoders."""
        check_output(self.output, "features")
        check_finished(self.config.shards, "shards")
        for flag in self.config.encoder:
            EncoderSpec.parse(flag)

    def plan(self) -> list[ShardTask]:
        """Return one task per input shard. Columns and shards that exist are not made again.

        The output and its columns are checked before the encoders of new columns are measured.
        """
        check_output(self.output, "features")
        manifest = read_manifest(self.config.shards, "shards")
        self._slots = manifest["slots"]
        self._specs = self.config.choose_encoders(self._slots)
        self._input_shards = {shard["name"]: shard for shard in manifest["shards"]}
        self._retry_shards = {*retry_shards(manifest)}
        config = {"shards": manifest["config_hash"]}
        self.config_hash = match_run(self.output, "features", config)
        new_columns = [column for column in self._specs if not self._continue(column)]
        sizes = FileSizes()
        pending = list(self._pending.plan(self._input_shards, sizes))
        tuned = {column: self._tune(column) for column in new_columns}
        open_run(self.output, "features", config)
        for column, (encoder, settings) in tuned.items():
            self._claim(column, encoder, settings)
        self._limit_processes()
        return [
            self._pending.make_task(entry, tuple(dict.fromkeys([*tables, *new_columns])), sizes)
            for entry, tables in zip(self._input_shards.values(), pending, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what workers do not need: it grows with the number of shards."""
        return self.__dict__ | {"_input_shards": {}, "_retry_shards": set()}

    def _limit_processes(self) -> None:
        """Choose the processes that make shards, unless the user decides.

        Each GPU gets one, and each core if the encoders use one core each.
        """
        encoders = self.load().values()
        self.worker_devices = max((encoder.devices for encoder in encoders), key=len, default=())
        default = len(self.worker_devices) or int(
            not all(encoder.uses_one_core for encoder in encoders)
        )
        self.max_processes = self.config.processes or default
        texts_only = all(spec.modality == "text" for spec in self._specs.values())
        self.min_parallel_records = _MIN_TEXTS if texts_only else _MIN_FILES

    def _continue(self, column: str) -> bool:
        """Continue a column with the settings it was started with; False if it is new."""
        spec, settings = self._specs[column], self.config.settings
        started = continue_column(self._table(column), spec, settings, self.config.batch_size)
        if started:
            self._claim(column, *started)
        return bool(started)

    def _tune(self, column: str) -> tuple[Encoder, TunedSettings]:
        return tune_column(
            self._table(column),
            self._specs[column],
            self.config.settings,
            self.config.batch_size,
            islice(self._read_members(self._specs[column].slot), TUNING_RECORDS),
            sum(entry["records"] for entry in self._input_shards.values()),
            TuningCache.of_user(reads=not self.config.remeasure),
        )

    def _claim(self, column: str, encoder: Encoder, tuned: TunedSettings) -> None:
        spec = self._specs[column]
        self.columns[column] = claim_column(self._table(column).receipts, spec, encoder, tuned)
        self._tuned[column] = tuned
        keep_encoder(spec, self._settings(column), encoder)

    def _read_members(self, slot: str) -> Iterator[bytes]:
        """Yield the members of a slot, from the first shard on."""
        for entry in self._input_shards.values():
            with suppress(DamagedFileError):  # the shard fails when it is made
                for record in self._read_shard(entry):
                    with suppress(RecordError):
                        if content := find_member(record, slot):
                            yield bytes(content)

    def _read_shard(self, entry: Mapping[str, Any]) -> Iterator[ShardRecord]:
        """Read the records of an input shard and check its files; see `read_stored_shard`."""
        receipt = read_input_receipt(self.config.shards, entry)
        return read_stored_shard(self.config.shards, receipt, self._slots)

    def _settings(self, column: str) -> Settings:
        """Return the settings of a column's encoder."""
        return replace(
            self._tuned[column].apply(self.config.settings),
            threads=self._threads,
            device=self._device or self.config.device,
        )

    def use_device(self, device: str) -> None:
        """Load the encoders onto one GPU."""
        self._device = device

    @property
    def _threads(self) -> int:
        """Threads of each process: together they use all cores."""
        return self.config.threads or max(1, default_threads() // self.processes)

    @cached_property
    def _store_format(self) -> int:
        return read_format(self.output, "features")

    def _table(self, name: str) -> TableFiles:
        return TableFiles(self.output, name, self._store_format)

    @property
    def _pending(self) -> PendingTables:
        fingerprints = {name: column.fingerprint for name, column in self.columns.items()}
        hashes = {SAMPLES: self.config_hash, **fingerprints}
        return PendingTables(self.output, self.config.shards, self._table, hashes)

    def is_made(self, task: ShardTask) -> bool:
        """Return whether a shard has been made since it was planned."""
        return not self._pending.of(task)

    def load(self) -> dict[str, Encoder]:
        """Return the encoders: column → encoder."""
        return {
            column: load_encoder(spec, self._settings(column), self._tuned[column])
            for column, spec in self._specs.items()
        }

    def parallel_shards(self, loaded: Mapping[str, Encoder]) -> int:
        """Return 2 on a GPU: it computes the next shard while the end of one is written."""
        return 2 if any(encoder.on_gpu for encoder in loaded.values()) else 1

    def process(self, task: ShardTask, loaded: Mapping[str, Encoder]) -> Receipt:
        """Make the missing files of one shard: columns first, then the samples table."""
        pending = self._pending.of(task)
        columns = [name for name in self.columns if name in pending]
        if not pending:
            progress.RECORDS_DONE.add(task.records)
            return self._read_made(task)
        sharded = read_input_receipt(self.config.shards, task.source)
        name = f"{task.shard}.parquet"
        table = read_checked(files.join(self.config.shards, name), sharded.files[name])
        if columns:
            make_columns(
                task,
                self._column_tasks({name: loaded[name] for name in columns}),
                lambda: read_stored_shard(self.config.shards, sharded, self._slots, table),
                {"shards": self.config.shards, "sha256": task.source["sha256"]},
                threads=self._threads,
            )
        progress.RECORDS_DONE.add(task.records if not columns else 0)
        if SAMPLES in pending:
            return copy_samples_table(
                self.config.shards,
                self._table(SAMPLES),
                sharded,
                table,
                records=task.records,
                config_hash=self.config_hash,
                fresh=task.fresh,
            )
        return self._read_made(task)

    def _read_made(self, task: ShardTask) -> Receipt:
        receipt = self._table(SAMPLES).read_receipt(task.shard)
        if receipt is None:
            raise OSError(f"the receipt of shard {task.shard} is missing from {self.output}")
        return receipt

    def try_records(self, task: ShardTask, rows: range, loaded: Mapping[str, Encoder]) -> None:
        """Decode and encode some records for the missing columns, and write nothing."""
        pending = self._pending.of(task)
        columns = self._column_tasks(
            {name: loaded[name] for name in self.columns if name in pending}
        )
        tried = (r for row, r in enumerate(self._read_shard(task.source)) if row in rows)
        try_columns(task, columns, tried, threads=self._threads)

    def _column_tasks(self, encoders: Mapping[str, Encoder]) -> dict[str, ColumnTask]:
        return {
            name: ColumnTask(
                self._table(name),
                self.columns[name],
                encoder,
                self._tuned[name],
                self._specs[name].slot,
                self._specs[name].normalize,
            )
            for name, encoder in encoders.items()
        }

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check that all columns align with the samples table, then write the manifest."""
        finished = FinishedShards(
            self.output, self._table, self.columns, shards, self._retry_shards
        )
        return finished.write_manifest(self.config_hash, self.config.shards)

    def release(self) -> None:
        """Free the memory of the encoders."""
        forget_encoders()
        free_gpu_memory()

    def clean_up(self, shards: Sequence[str]) -> None:
        """Release the encoders."""
        forget_encoders()

    def finished_manifest(self) -> dict[str, Any] | None:
        """Return the manifest if it has all requested columns."""
        manifest = super().finished_manifest()
        if manifest and manifest["columns"].keys() != manifest["totals"]["columns"].keys():
            raise DamagedFileError(
                f"the manifest in {self.output} must have totals of each column",
                got=sorted(manifest["totals"]["columns"]),
                cure=files.RESTORE,
            )
        if manifest and self.columns.keys() <= manifest["columns"].keys():
            return manifest
        return None

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return per column the number of features, and why others are missing."""
        return summarize_columns(manifest, self.output)
