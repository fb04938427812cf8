"""The extraction stage: shards → feature columns, with a status for each record in each column.

OUTPUT/samples/00000.parquet        one row per input record, copied from the shards
OUTPUT/image/00000.arrow            row i is the feature of row i of the samples table
OUTPUT/columns/image/column.json    the encoder of the column
"""

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa

from mmfeat.encoders import SCHEMES, Encoder, EncoderSpec, Settings
from mmfeat.errors import DamagedFileError, MmfeatError, RecordError
from mmfeat.extraction.account import RecordAccount
from mmfeat.extraction.autotune import TUNING_RECORDS, TunedSettings, autotune
from mmfeat.extraction.column_writer import ColumnWriter, claim_column, read_tuned_settings
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.deadly_members import drop_deadly_members
from mmfeat.extraction.decode import DecodedWindow, decode_windows, find_member
from mmfeat.extraction.samples_table import copy_samples_table, read_input_receipt
from mmfeat.features import SAMPLES, Column, TableFiles, parse_columns, read_reasons
from mmfeat.shards import ShardRecord, read_stored_shard
from mmfeat.storage import files
from mmfeat.store import (
    MANIFEST_FILE,
    RETRY_SHARD,
    Receipt,
    RetriedRows,
    ShardTask,
    Stage,
    StatusAndReason,
    check_output,
    format_counts,
    is_unfinished,
    mark_unfinished,
    match_run,
    open_checked,
    open_run,
    read_format,
    read_manifest,
    read_parquet,
    retry_shards,
    subtract,
    sum_receipts,
    write_manifest,
)
from mmfeat.system import progress

_LOADED_ENCODERS: dict[tuple[EncoderSpec, Settings], Encoder] = {}
"""Encoders that `plan` has loaded. Workers in the same process reuse them."""


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

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes need."""
        schemes = {SCHEMES[spec.scheme]: None for spec in self._specs.values()}
        return [*super().worker_modules, *schemes]

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
        new_columns = [column for column in self._specs if not self._load_started(column)]
        pending = {name: self._pending_tables(name) for name in self._input_shards}
        tuned = {column: self._load_autotuned(column) for column in new_columns}
        open_run(self.output, "features", config)
        for column, (encoder, settings) in tuned.items():
            self._claim_column(column, encoder, settings)
        return [
            ShardTask(name, shard["records"], done=not (new_columns or pending[name]))
            for name, shard in self._input_shards.items()
        ]

    def _load_started(self, column: str) -> bool:
        """Load an encoder with the settings its column was started with; False if it is new."""
        tuned = read_tuned_settings(self._table(column).receipts)
        if tuned is None:
            return False
        batch_size = self.config.batch_size
        encoder = self._load_as_started(column, tuned)
        batch_size = batch_size or tuned.batch_size
        self._claim_column(column, encoder, replace(tuned, batch_size=batch_size))
        return True

    def _load_as_started(self, column: str, tuned: TunedSettings) -> Encoder:
        settings = self.config.settings
        is_image = self._specs[column].modality == "image"
        if is_image and settings.decode not in ("auto", tuned.decode):
            raise MmfeatError(
                f"the column {column} of {self.output} was started with --decode={tuned.decode}",
                got=f"--decode={settings.decode}",
                cure="Leave the flag out, or give the column another name",
            )
        if settings.precision == "auto":
            settings = replace(settings, precision=tuned.precision)
        encoder = self._specs[column].load(replace(settings, decode="cpu"))
        if tuned.decode == "cpu":
            return encoder
        if not encoder.can_decode_on_gpu:
            raise MmfeatError(
                f"the column {column} of {self.output} was started with JPEGs decoded on a GPU, "
                "and this machine cannot do that",
                cure="Continue on a machine with a GPU and torchcodec, or start another column",
            )
        return encoder.decoding_on_gpu()

    def _load_autotuned(self, column: str) -> tuple[Encoder, TunedSettings]:
        """Load the encoder of a new column with the fastest settings."""
        spec = self._specs[column]
        members = list(islice(self._read_members(spec.slot), TUNING_RECORDS))
        if is_unfinished(self.output, column):
            reference = replace(self.config.settings, precision="float32")
            members = drop_deadly_members(spec, reference, members)
        with mark_unfinished(self.output, column):
            return autotune(spec, self.config.settings, members, self.config.batch_size)

    def _claim_column(self, column: str, encoder: Encoder, tuned: TunedSettings) -> None:
        spec = self._specs[column]
        self.columns[column] = claim_column(self._table(column).receipts, spec, encoder, tuned)
        self._tuned[column] = tuned
        _LOADED_ENCODERS[spec, self._settings(column)] = encoder

    def _read_members(self, slot: str) -> Iterator[bytes]:
        """Yield the members of a slot, from the first shard on."""
        for shard in self._input_shards:
            with suppress(DamagedFileError):  # the shard fails when it is made
                for record in self._read_shard(shard):
                    with suppress(RecordError):
                        if content := find_member(record, slot):
                            yield content

    def _read_shard(self, shard: str) -> Iterator[ShardRecord]:
        """Read the records of an input shard and check its files; see `read_stored_shard`."""
        receipt = self._read_input_receipt(shard)
        return read_stored_shard(self.config.shards, receipt, self._slots)

    def _read_input_receipt(self, shard: str) -> Receipt:
        return read_input_receipt(self.config.shards, self._input_shards[shard])

    def _settings(self, column: str) -> Settings:
        """Return the settings of a column's encoder, with its tuned precision."""
        tuned = self._tuned[column]
        return replace(self.config.settings, precision=tuned.precision, decode=tuned.decode)

    @cached_property
    def _store_format(self) -> int:
        return read_format(self.output, "features")

    def _table(self, name: str) -> TableFiles:
        return TableFiles(self.output, name, self._store_format)

    def _pending_tables(self, shard: str) -> list[str]:
        """Return the columns, and the samples table, that have no receipt of the shard yet."""
        fingerprints = {name: column.fingerprint for name, column in self.columns.items()}
        return [
            table
            for table, config_hash in {SAMPLES: self.config_hash, **fingerprints}.items()
            if not self._is_done(self._table(table), shard, config_hash)
        ]

    def _is_done(self, table: TableFiles, shard: str, config_hash: str) -> bool:
        receipt = table.read_receipt(shard, config_hash)
        if receipt is None:
            return False
        old, new = receipt.source.get("sha256"), self._input_shards[shard]["sha256"]
        if not isinstance(old, str):
            return False
        if old != new:
            raise MmfeatError(
                f"shard {shard} of {table.folder} was made from other bytes than "
                f"{self.config.shards} has now (sha256 {old[:12]}, now {new[:12]})",
                cure="Name another output directory",
            )
        return True

    def load(self) -> dict[str, Encoder]:
        """Return the encoders: column → encoder."""
        return {
            column: _LOADED_ENCODERS.get((spec, self._settings(column)))
            or spec.load(self._settings(column))
            for column, spec in self._specs.items()
        }

    def parallel_shards(self, loaded: Mapping[str, Encoder]) -> int:
        """Return 2 on a GPU: it computes the next shard while the end of one is written."""
        return 2 if any(encoder.on_gpu for encoder in loaded.values()) else 1

    def process(self, task: ShardTask, loaded: Mapping[str, Encoder]) -> Receipt:
        """Make the missing files of one shard: columns first, then the samples table."""
        pending = self._pending_tables(task.shard)
        columns = [name for name in self.columns if name in pending]
        if columns:
            self._write_columns(task, {name: loaded[name] for name in columns})
        progress.RECORDS_DONE.add(task.records if not columns else 0)
        if SAMPLES in pending:
            copy_samples_table(
                self.config.shards,
                self._table(SAMPLES),
                self._read_input_receipt(task.shard),
                records=self._input_shards[task.shard]["records"],
                config_hash=self.config_hash,
            )
        receipt = self._table(SAMPLES).read_receipt(task.shard)
        if receipt is None:
            raise OSError(f"the receipt of shard {task.shard} is missing from {self.output}")
        return receipt

    def try_records(self, task: ShardTask, rows: range, loaded: Mapping[str, Encoder]) -> None:
        """Decode and encode some records for the missing columns, and write nothing."""
        pending = self._pending_tables(task.shard)
        encoders = {name: loaded[name] for name in self.columns if name in pending}
        writers = {name: self._make_writer(name, task.shard, e) for name, e in encoders.items()}
        records = enumerate(self._read_shard(task.shard))
        for window in self._decode((record for row, record in records if row in rows), encoders):
            for name, writer in writers.items():
                writer.encode(window.items[name])

    def _make_writer(self, column: str, shard: str, encoder: Encoder) -> ColumnWriter:
        return ColumnWriter(
            self._table(column),
            shard,
            self.columns[column],
            encoder,
            batch_size=self._tuned[column].batch_size,
            normalize=self._specs[column].normalize,
        )

    def _decode(
        self, records: Iterable[ShardRecord], encoders: Mapping[str, Encoder]
    ) -> Iterator[DecodedWindow]:
        return decode_windows(
            records,
            encoders,
            {name: self._specs[name].slot for name in encoders},
            threads=self.config.decoding_threads,
            prefetch=any(encoder.on_gpu for encoder in encoders.values()),
        )

    def _write_columns(self, task: ShardTask, encoders: Mapping[str, Encoder]) -> None:
        started = time.monotonic()
        shard = task.shard
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(self._make_writer(name, shard, encoder))
                for name, encoder in encoders.items()
            }
            records = _leave_out(self._read_shard(shard), task.deadly)
            for window in self._decode(records, encoders):
                for name, writer in writers.items():
                    writer.write(window.keys, window.items[name], window.bytes_read[name])
                progress.RECORDS_DONE.add(len(window.keys))
        source = {"shards": self.config.shards, "sha256": self._input_shards[shard]["sha256"]}
        for writer in writers.values():
            writer.commit(source, seconds=time.monotonic() - started)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check that all columns align with the samples table, then write the manifest."""
        samples = self._table(SAMPLES).require_receipts(shards)
        columns = self._finished_columns() | self.columns
        receipts = {name: self._table(name).require_receipts(shards) for name in columns}
        for name, column_receipts in receipts.items():
            _check_alignment(samples, column_receipts, self._table(name).receipts)
        listing = [self._describe_shard(receipt) for receipt in samples]
        account, replaced = self._count_records(samples, listing, receipts)
        column_totals = {
            name: subtract(sum_receipts(column_receipts), replaced[name])
            for name, column_receipts in receipts.items()
        }
        if not any(totals["out"] for totals in column_totals.values()):
            reasons = {n: format_counts(totals["rejected"]) for n, totals in column_totals.items()}
            raise MmfeatError(f"no record of {self.config.shards} has a feature ({reasons})")
        return write_manifest(
            self.output,
            "features",
            self.config_hash,
            columns={name: vars(column) for name, column in sorted(columns.items())},
            shards=listing,
            totals={**sum_receipts(samples), **account.totals, "columns": column_totals},
        )

    def _finished_columns(self) -> dict[str, Column]:
        """Return the columns of the manifest, which earlier runs have made."""
        path = files.join(self.output, MANIFEST_FILE)
        if not files.exists(path):
            return {}
        return parse_columns(read_manifest(self.output, "features")["columns"], path)

    def _describe_shard(self, receipt: Receipt) -> dict[str, Any]:
        """Return the entry of a shard in the manifest."""
        flag = {RETRY_SHARD: True} if receipt.shard in self._retry_shards else {}
        names = {"name": receipt.shard, "records": receipt.records}
        return {**names, "keys_sha256": receipt.keys_sha256, **flag}

    def _count_records(
        self,
        samples: Sequence[Receipt],
        listing: Sequence[Mapping[str, Any]],
        receipts: Mapping[str, Sequence[Receipt]],
    ) -> tuple[RecordAccount, dict[str, Counter[StatusAndReason]]]:
        """Count the records over all columns. A record that a retry has replaced counts once.

        Returns:
            The account, and the replaced rows: column → status and reason → rows.
        """
        account = RecordAccount(sorted(receipts))
        replaced: dict[str, Counter[StatusAndReason]] = {name: Counter() for name in receipts}
        retried_rows = RetriedRows(listing, lambda shard: self._read_samples(shard)["__key__"])
        for number, sample in enumerate(samples):
            has_replaced = bool(self._retry_shards and sample.problems)
            rejected = {name: receipts[name][number].rejected for name in receipts}
            if not has_replaced and account.add_shard(sample.records, rejected):
                continue
            paths = {n: files.join(self.output, n, f"{sample.shard}.arrow") for n in receipts}
            columns = {name: read_reasons(path) for name, path in paths.items()}
            rows = pa.table({name: column["reason"] for name, column in columns.items()})
            if has_replaced:
                mask = retried_rows.mask(self._read_samples(sample.shard), sample.shard)
                for name, counts in replaced.items():
                    gone = columns[name].filter(pa.array(mask)).to_pylist()
                    counts.update((row["status"], row["reason"]) for row in gone)
                rows = rows.filter(pa.array(~mask))
            account.add_rows(rows)
        return account, replaced

    def _read_samples(self, shard: str) -> pa.Table:
        """Read the keys and the status of a shard of the samples table."""
        path, info = self._table(SAMPLES).find_rows(shard)
        with open_checked(path, info) as file:
            return read_parquet(path, ["__key__", "status"], file=file)

    def release(self) -> None:
        """Free the memory of the encoders."""
        _LOADED_ENCODERS.clear()
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def clean_up(self, shards: Sequence[str]) -> None:
        """Release the encoders."""
        _LOADED_ENCODERS.clear()

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
        lines: dict[str, Any] = {}
        for name, column in parse_columns(manifest["columns"], self.output).items():
            totals = manifest["totals"]["columns"][name]
            source = f"{totals['out']:,} features of {column.slot}"
            lines[f"column {name}"] = f"{source} ({column.summary})"
            lines |= {f"  no {name}: {reason}": n for reason, n in totals["rejected"].items()}
        return lines


def _leave_out(records: Iterable[ShardRecord], deadly: Mapping[int, str]) -> Iterator[ShardRecord]:
    """Yield the records; those that kill their process without members."""
    for row, record in enumerate(records):
        if row in deadly and record.sample:
            problem = RecordError("worker_died", deadly[row])
            problems = record.sample.problems | dict.fromkeys(record.sample.members, problem)
            record = replace(record, sample=replace(record.sample, members={}, problems=problems))
        yield record


def _check_alignment(
    samples: Iterable[Receipt], column_receipts: Iterable[Receipt], folder: str
) -> None:
    for sample, column in zip(samples, column_receipts, strict=True):
        if sample.keys_sha256 != column.keys_sha256 or sample.records != column.records:
            raise MmfeatError(
                f"shard {sample.shard} of {folder} does not align with its samples table",
                cure=f"Remove {folder} and run the same command again",
            )
