"""The extraction stage: shards → feature columns, with a status for each record in each column.

OUTPUT/samples/00000.parquet        one row per input record, copied from the shards
OUTPUT/image/00000.arrow            row i is the feature of row i of the samples table
OUTPUT/columns/image/column.json    the encoder of the column
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.errors import DamagedFileError
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.finishing import FinishedShards, summarize_columns
from mmfeat.extraction.loaded_encoders import forget_encoders
from mmfeat.extraction.pending import PendingTables
from mmfeat.extraction.samples_table import copy_samples_table, read_input_receipt
from mmfeat.extraction.shard_columns import make_columns
from mmfeat.extraction.shard_encoding import ShardEncoding
from mmfeat.features import SAMPLES, Column, TableFiles
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
    retry_shards,
)
from mmfeat.system import progress


class Extraction(Stage):
    """The stage behind `mmfeat extract`.

    Args:
        config: options.
        required: columns of a model, if it must be possible to score with it; see `ShardEncoding`.
    """

    name = "extract"

    def __init__(
        self, config: ExtractConfig, required: Mapping[str, Column] = MappingProxyType({})
    ) -> None:
        self.config = config
        self.output = config.output
        self.encoding = ShardEncoding(config, config.output, required=required)
        self._retry_shards: set[str] = set()

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of this run."""
        return self.encoding.columns

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        return [*super().worker_modules, *self.encoding.modules]

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
        manifest = self.encoding.open()
        entries = self.encoding.shards
        self._retry_shards = {*retry_shards(manifest)}
        config = {"shards": manifest["config_hash"]}
        self.config_hash = match_run(self.output, "features", config)
        new_columns = self.encoding.continue_columns()
        sizes = FileSizes()
        pending = list(self._pending.plan(entries, sizes))
        tuned = {column: self.encoding.tune(column) for column in new_columns}
        open_run(self.output, "features", config)
        for column, (encoder, settings) in tuned.items():
            self.encoding.claim(column, encoder, settings)
        self._limit_processes()
        return [
            self._pending.make_task(entry, tuple(dict.fromkeys([*tables, *new_columns])), sizes)
            for entry, tables in zip(entries.values(), pending, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what workers do not need: it grows with the number of shards."""
        return self.__dict__ | {"_retry_shards": set()}

    def _limit_processes(self) -> None:
        self.worker_devices, self.max_processes, self.min_parallel_records = (
            self.encoding.choose_limits(self.load())
        )

    def use_device(self, device: str) -> None:
        """Load the encoders onto one GPU."""
        self.encoding.device = device

    def _table(self, name: str) -> TableFiles:
        return self.encoding.table(name)

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
        return self.encoding.load(self.processes)

    def parallel_shards(self, loaded: Mapping[str, Encoder]) -> int:
        """Return how many shards a process makes at the same time."""
        return self.encoding.parallel_shards(loaded)

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
                self.encoding.column_tasks({name: loaded[name] for name in columns}),
                lambda: self.encoding.read_records(sharded, table),
                {"shards": self.config.shards, "sha256": task.source["sha256"]},
                threads=self.encoding.threads(self.processes),
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
        encoders = {name: loaded[name] for name in self.columns if name in pending}
        self.encoding.try_records(task, rows, encoders, self.processes)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check that all columns align with the samples table, then write the manifest."""
        finished = FinishedShards(
            self.output, self._table, self.columns, shards, self._retry_shards
        )
        return finished.write_manifest(self.config_hash, self.config.shards)

    def release(self) -> None:
        """Free the memory of the encoders."""
        self.encoding.release()

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
