"""The encoders of a run over shards: they are chosen, tuned, loaded, and applied to a shard."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.extraction.column_start import (
    claim_column,
    continue_column,
    describe_column,
    tune_column,
)
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.encoding import find_member
from mmfeat.extraction.loaded_encoders import forget_encoders, keep_encoder, load_encoder
from mmfeat.extraction.required_columns import check_column, settings_of_column
from mmfeat.extraction.samples_table import read_input_receipt
from mmfeat.extraction.shard_columns import (
    ColumnTask,
    EncodedShard,
    encode_columns,
    free_gpu_memory,
    try_columns,
)
from mmfeat.extraction.tuning import TUNING_RECORDS, TunedSettings, TuningCache
from mmfeat.features import Column, TableFiles
from mmfeat.shards import ShardRecord, read_stored_shard
from mmfeat.store import Receipt, ShardTask, read_format, read_manifest
from mmfeat.system import default_threads

_MIN_TEXTS, _MIN_FILES = 10_000, 1000
"""Texts, and records with images or sounds, that take a core longer than starting the workers."""

SelectRecord = Callable[[int, ShardRecord], ShardRecord]
"""Returns the record of a row; without its sample if it must not be encoded."""


class ProcessLimits(NamedTuple):
    """The processes that suit the encoders; fields as in `Stage`."""

    worker_devices: Sequence[str]
    max_processes: int
    min_parallel_records: int


class ShardEncoding:
    """The encoders of a run, and the shards that they read.

    `columns/NAME/column.json` in the store has the settings of each encoder. They are measured
    once, so that all shards are made with the same ones, also after a restart.

    Args:
        config: the encoders and their settings.
        store: the store with the descriptions of the columns.
        kind: its kind.
        required: columns of a model. Their encoders run as they did for its training, and it is an
            error if they are others.
    """

    def __init__(
        self,
        config: ExtractConfig,
        store: str,
        kind: str = "features",
        required: Mapping[str, Column] = MappingProxyType({}),
    ) -> None:
        self.config, self.store = config, store
        self._required = dict(required)
        self.specs: dict[str, EncoderSpec] = {}
        self.columns: dict[str, Column] = {}
        self.tuned: dict[str, TunedSettings] = {}
        self.device = ""
        self.shards: dict[str, dict[str, Any]] = {}
        self._kind = kind
        self._slots: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what workers do not need: it grows with the number of shards."""
        return self.__dict__ | {"shards": {}}

    def open(self) -> dict[str, Any]:
        """Choose the encoders of the shards, and return the manifest of the shards."""
        manifest = read_manifest(self.config.shards, "shards")
        self._slots = manifest["slots"]
        self.specs = self.config.choose_encoders(self._slots)
        self.shards = {shard["name"]: shard for shard in manifest["shards"]}
        return manifest

    def continue_columns(self) -> list[str]:
        """Load the encoders of columns that were started, and return the other columns."""
        return [column for column in self.specs if not self._continue(column)]

    def _continue(self, column: str) -> bool:
        started = continue_column(
            self.table(column),
            self.specs[column],
            self._requested(column),
            self.config.batch_size,
        )
        if started:
            self._check(column, *started)
            self.claim(column, *started)
        return bool(started)

    def _requested(self, column: str) -> Settings:
        """Return the settings to start a column with."""
        settings, required = self.config.settings, self._required.get(column)
        return settings_of_column(required, settings) if required else settings

    def _check(self, column: str, encoder: Encoder, tuned: TunedSettings) -> None:
        """Check that an encoder is the one of a model.

        Raises:
            MmfeatError: it is another one, such as a checkpoint with other weights.
        """
        if required := self._required.get(column):
            spec = self.specs[column]
            check_column(required, describe_column(spec, encoder, compiled=tuned.compile))

    def tune(self, column: str) -> tuple[Encoder, TunedSettings]:
        """Load the encoder of a new column with the fastest settings.

        Raises:
            MmfeatError: it cannot be loaded, or is not the one of the model.
        """
        encoder, tuned = tune_column(
            self.table(column),
            self.specs[column],
            self._requested(column),
            self.config.batch_size,
            islice(self._read_members(self.specs[column].slot), TUNING_RECORDS),
            sum(entry["records"] for entry in self.shards.values()),
            TuningCache.of_user(reads=not self.config.remeasure),
        )
        self._check(column, encoder, tuned)
        return encoder, tuned

    def claim(self, column: str, encoder: Encoder, tuned: TunedSettings) -> None:
        """Start a column in the store, or continue the column of the same encoder."""
        spec = self.specs[column]
        self.columns[column] = claim_column(self.table(column).receipts, spec, encoder, tuned)
        self.tuned[column] = tuned
        keep_encoder(spec, self.settings(column), encoder)

    def _read_members(self, slot: str) -> Iterator[bytes]:
        """Yield the members of a slot, from the first shard on."""
        for entry in self.shards.values():
            with suppress(DamagedFileError):  # the shard fails when it is made
                for record in self.read_shard(entry):
                    with suppress(RecordError):
                        if content := find_member(record, slot):
                            yield bytes(content)

    def read_shard(self, entry: Mapping[str, Any]) -> Iterator[ShardRecord]:
        """Read the records of an input shard and check its files; see `read_stored_shard`."""
        receipt = read_input_receipt(self.config.shards, entry)
        return read_stored_shard(self.config.shards, receipt, self._slots)

    def read_records(self, receipt: Receipt, table: bytes) -> Iterator[ShardRecord]:
        """Read the records of an input shard whose table is in memory; see `read_stored_shard`."""
        return read_stored_shard(self.config.shards, receipt, self._slots, table)

    def settings(self, column: str, processes: int = 1) -> Settings:
        """Return the settings of a column's encoder.

        Args:
            column: the column.
            processes: processes on this machine that encode.
        """
        return replace(
            self.tuned[column].apply(self._requested(column)),
            threads=self.threads(processes),
            device=self.device or self.config.device,
        )

    def threads(self, processes: int) -> int:
        """Return the threads of each process: together they use all cores."""
        return self.config.threads or max(1, default_threads() // processes)

    def load(self, processes: int = 1) -> dict[str, Encoder]:
        """Return the encoders: column → encoder."""
        return {
            column: load_encoder(spec, self.settings(column, processes), self.tuned[column])
            for column, spec in self.specs.items()
        }

    def release(self) -> None:
        """Free the memory of the encoders."""
        forget_encoders()
        free_gpu_memory()

    def choose_limits(self, encoders: Mapping[str, Encoder]) -> ProcessLimits:
        """Choose the processes that make shards, unless the user decides.

        Each GPU gets one, and each core if the encoders use one core each.
        """
        devices = max((encoder.devices for encoder in encoders.values()), key=len, default=())
        default = len(devices) or int(
            not all(encoder.uses_one_core for encoder in encoders.values())
        )
        texts_only = all(spec.modality == "text" for spec in self.specs.values())
        return ProcessLimits(
            devices, self.config.processes or default, _MIN_TEXTS if texts_only else _MIN_FILES
        )

    @staticmethod
    def parallel_shards(encoders: Mapping[str, Encoder]) -> int:
        """Return 2 on a GPU: it computes the next shard while the end of one is written."""
        return 2 if any(encoder.on_gpu for encoder in encoders.values()) else 1

    @property
    def modules(self) -> list[str]:
        """Modules of the encoders."""
        return [*dict.fromkeys(spec.module for spec in self.specs.values())]

    @cached_property
    def store_format(self) -> int:
        """Format of the store."""
        return read_format(self.store, self._kind)

    def table(self, name: str) -> TableFiles:
        """Return the files of a column."""
        return TableFiles(self.store, name, self.store_format)

    def column_tasks(self, encoders: Mapping[str, Encoder]) -> dict[str, ColumnTask]:
        """Return the tasks of columns: name → task."""
        return {
            name: ColumnTask(
                self.table(name),
                self.columns[name],
                encoder,
                self.tuned[name],
                self.specs[name].slot,
                self.specs[name].normalize,
            )
            for name, encoder in encoders.items()
        }

    def encode(
        self,
        task: ShardTask,
        encoders: Mapping[str, Encoder],
        receipt: Receipt,
        table: bytes,
        select: SelectRecord,
        processes: int = 1,
    ) -> EncodedShard:
        """Encode a shard in memory.

        Args:
            task: the shard.
            encoders: column → encoder.
            receipt: the receipt of the shard.
            table: the content of its table, checked.
            select: which records are encoded; the others have the reason of their statuses.
            processes: as in `settings`.
        """

        def read() -> Iterator[ShardRecord]:
            records = self.read_records(receipt, table)
            return (select(row, record) for row, record in enumerate(records))

        tasks = self.column_tasks(encoders)
        return encode_columns(task, tasks, read, threads=self.threads(processes))

    def try_records(
        self, task: ShardTask, rows: range, encoders: Mapping[str, Encoder], processes: int = 1
    ) -> None:
        """Decode and encode some records of a shard, and write nothing."""
        tried = (r for row, r in enumerate(self.read_shard(task.source)) if row in rows)
        tasks = self.column_tasks(encoders)
        try_columns(task, tasks, tried, threads=self.threads(processes))
