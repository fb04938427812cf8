"""The extraction stage: shards → feature columns, with a status for each record in each column.

OUTPUT/samples/00000.parquet    one row per input record, copied from the shards
OUTPUT/image/00000.arrow        row i is the feature of row i of the samples table
OUTPUT/image/column.json        the encoder of the column
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.autotune import TUNING_RECORDS, TunedSettings, autotune
from mmfeat.extraction.column_writer import ColumnWriter, claim_column, read_tuned_settings
from mmfeat.extraction.config import ExtractConfig
from mmfeat.extraction.decode import decode_windows, find_member
from mmfeat.extraction.samples_table import copy_samples_table
from mmfeat.features.column_format import Column
from mmfeat.features.column_reader import read_column_file
from mmfeat.features.store import SAMPLES
from mmfeat.shards.shard_reader import read_shard
from mmfeat.store import files
from mmfeat.store.directory import open_run
from mmfeat.store.manifest import MANIFEST_FILE, read_manifest, write_manifest
from mmfeat.store.receipts import (
    Receipt,
    format_counts,
    read_receipt,
    require_receipts,
    subtract,
    sum_receipts,
)
from mmfeat.store.retried_rows import RETRY_SHARD, RetriedRows, retry_shards
from mmfeat.store.stage import ShardTask, Stage
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
        self._specs: dict[str, EncoderSpec] = {}
        self._tuned: dict[str, TunedSettings] = {}
        self._input_shards: dict[str, dict[str, Any]] = {}
        self._retry_shards: set[str] = set()
        self._input_totals: dict[str, Any] = {}

    def plan(self) -> list[ShardTask]:
        """Return one task per input shard. Columns and shards that exist are not made again."""
        manifest = read_manifest(self.config.shards, "shards")
        self._specs = self.config.choose_encoders(manifest["modalities"])
        self._input_shards = {shard["name"]: shard for shard in manifest["shards"]}
        self._retry_shards = {*retry_shards(manifest)}
        names = ("records", "out", "rejected", "status", "problems")
        self._input_totals = {name: manifest["totals"][name] for name in names}
        loaded = {column: self._load_tuned(spec) for column, spec in self._specs.items()}
        self.config_hash = open_run(self.output, "features", {"shards": manifest["config_hash"]})
        for column, (encoder, tuned) in loaded.items():
            spec = self._specs[column]
            self.columns[column] = claim_column(self._folder(column), spec, encoder, tuned)
            self._tuned[column] = tuned
            _LOADED_ENCODERS[spec, self._settings(column)] = encoder
        return [
            ShardTask(name, shard["records"], done=not self._pending_folders(name))
            for name, shard in self._input_shards.items()
        ]

    def _load_tuned(self, spec: EncoderSpec) -> tuple[Encoder, TunedSettings]:
        """Load an encoder with the settings its column was started with, or autotune it."""
        settings, batch_size = self.config.settings, self.config.batch_size
        if tuned := read_tuned_settings(self._folder(spec.column)):
            if settings.precision == "auto":
                settings = replace(settings, precision=tuned.precision)
            return spec.load(settings), replace(tuned, batch_size=batch_size or tuned.batch_size)
        members = list(islice(self._read_members(spec.modality), TUNING_RECORDS))
        return autotune(spec, settings, members, batch_size)

    def _read_members(self, modality: str) -> Iterator[bytes]:
        """Yield the members of a modality, from the first shard on."""
        for shard in self._input_shards:
            base = files.join(self.config.shards, shard)
            with (
                files.open_input(f"{base}.parquet") as table,
                files.open_input(f"{base}.tar") as tar,
            ):
                for record in read_shard(table, tar):
                    with suppress(RecordError):
                        if content := find_member(record, modality):
                            yield content

    def _settings(self, column: str) -> Settings:
        """Return the settings of a column's encoder, with its tuned precision."""
        return replace(self.config.settings, precision=self._tuned[column].precision)

    def _folder(self, name: str) -> str:
        return files.join(self.output, name)

    def _pending_folders(self, shard: str) -> list[str]:
        """Return the folders, of columns or samples, in which the shard has no receipt yet."""
        fingerprints = {name: column.fingerprint for name, column in self.columns.items()}
        return [
            folder
            for folder, config_hash in {SAMPLES: self.config_hash, **fingerprints}.items()
            if not self._is_done(folder, shard, config_hash)
        ]

    def _is_done(self, folder: str, shard: str, config_hash: str) -> bool:
        receipt = read_receipt(self._folder(folder), shard, config_hash)
        if receipt is None:
            return False
        old, new = receipt.source["sha256"], self._input_shards[shard]["sha256"]
        if old != new:
            raise MmfeatError(
                f"shard {shard} of {self._folder(folder)} was made from other bytes than "
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

    def process(self, task: ShardTask, loaded: Mapping[str, Encoder]) -> Receipt:
        """Make the missing files of one shard: columns first, then the samples table."""
        pending = self._pending_folders(task.shard)
        columns = [name for name in self.columns if name in pending]
        if columns:
            self._write_columns(task.shard, {name: loaded[name] for name in columns})
        progress.RECORDS_DONE.add(task.records if not columns else 0)
        if SAMPLES in pending:
            copy_samples_table(
                self.config.shards,
                self._folder(SAMPLES),
                task.shard,
                records=self._input_shards[task.shard]["records"],
                sha256=self._input_shards[task.shard]["sha256"],
                config_hash=self.config_hash,
            )
        receipt = read_receipt(self._folder(SAMPLES), task.shard)
        if receipt is None:
            raise OSError(f"the receipt of shard {task.shard} is missing from {self.output}")
        return receipt

    def _write_columns(self, shard: str, encoders: Mapping[str, Encoder]) -> None:
        started = time.monotonic()
        base = files.join(self.config.shards, shard)
        with ExitStack() as stack:
            table = stack.enter_context(files.open_input(f"{base}.parquet"))
            tar = stack.enter_context(files.open_input(f"{base}.tar"))
            writers = {
                name: stack.enter_context(
                    ColumnWriter(
                        self._folder(name),
                        shard,
                        self.columns[name],
                        encoder,
                        batch_size=self._tuned[name].batch_size,
                        normalize=self._specs[name].normalize,
                    )
                )
                for name, encoder in encoders.items()
            }
            windows = decode_windows(
                read_shard(table, tar),
                encoders,
                threads=self.config.decoding_threads,
                prefetch=any(encoder.on_gpu for encoder in encoders.values()),
            )
            for window in windows:
                for name, writer in writers.items():
                    writer.write(window.keys, window.items[name], window.bytes_read[name])
                progress.RECORDS_DONE.add(len(window.keys))
        source = {"shards": self.config.shards, "sha256": self._input_shards[shard]["sha256"]}
        for writer in writers.values():
            writer.commit(source, seconds=time.monotonic() - started)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check that all columns align with the samples table, then write the manifest."""
        samples = self._require_receipts(SAMPLES, shards)
        previous = files.read_json(files.join(self.output, MANIFEST_FILE)) or {}
        columns = {
            name: Column(**facts) for name, facts in previous.get("columns", {}).items()
        } | self.columns
        receipts = {name: self._require_receipts(name, shards) for name in columns}
        for name, column_receipts in receipts.items():
            _check_alignment(samples, column_receipts, self._folder(name))
        listing = [self._describe_shard(receipt) for receipt in samples]
        replaced = self._count_replaced_rows(samples, listing, columns)
        column_totals = {
            name: subtract(sum_receipts(column_receipts), replaced[name], "missing")
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
            totals={**sum_receipts(samples), **self._input_totals, "columns": column_totals},
        )

    def _require_receipts(self, folder: str, shards: Sequence[str]) -> list[Receipt]:
        return require_receipts(self._folder(folder), shards, failures_in=self.output)

    def _describe_shard(self, receipt: Receipt) -> dict[str, Any]:
        """Return the entry of a shard in the manifest."""
        flag = {RETRY_SHARD: True} if receipt.shard in self._retry_shards else {}
        names = {"name": receipt.shard, "records": receipt.records}
        return {**names, "keys_sha256": receipt.keys_sha256, **flag}

    def _count_replaced_rows(
        self,
        samples: Iterable[Receipt],
        listing: Sequence[Mapping[str, Any]],
        columns: Iterable[str],
    ) -> dict[str, Counter[str]]:
        """Count rows without a feature that a retry has replaced: column → reason → rows."""
        retried_rows = RetriedRows(self._folder(SAMPLES), listing)
        reasons: dict[str, Counter[str]] = {name: Counter() for name in columns}
        for receipt in samples if self._retry_shards else ():
            if receipt.rejected:
                path = files.join(self._folder(SAMPLES), f"{receipt.shard}.parquet")
                with files.open_input(path) as file:
                    mask = retried_rows.mask(pq.read_table(file, columns=["__key__", "status"]))
                for name, counts in reasons.items():
                    path = files.join(self._folder(name), f"{receipt.shard}.arrow")
                    column = read_column_file(path)
                    counts.update(column.reasons.filter(pa.array(mask)).to_pylist())
        return reasons

    def clean_up(self, shards: Sequence[str]) -> None:
        """Release the encoders."""
        _LOADED_ENCODERS.clear()

    def finished_manifest(self) -> dict[str, Any] | None:
        """Return the manifest if it has all requested columns."""
        manifest = super().finished_manifest()
        if manifest and self.columns.keys() <= manifest["columns"].keys():
            return manifest
        return None

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return per column the number of features, and why others are missing."""
        lines: dict[str, Any] = {}
        for name, column in manifest["columns"].items():
            totals = manifest["totals"]["columns"][name]
            lines[f"column {name}"] = f"{totals['out']:,} features ({Column(**column).summary})"
            lines |= {f"  no {name}: {reason}": n for reason, n in totals["rejected"].items()}
        return lines


def _check_alignment(
    samples: Iterable[Receipt], column_receipts: Iterable[Receipt], folder: str
) -> None:
    for sample, column in zip(samples, column_receipts, strict=True):
        if sample.keys_sha256 != column.keys_sha256 or sample.records != column.records:
            raise MmfeatError(
                f"shard {sample.shard} of {folder} does not align with its samples table",
                cure=f"Remove {folder} and run the same command again",
            )
