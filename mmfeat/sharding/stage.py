"""Sharding: raw records → WebDataset tars, with one row a record that says what became of it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.media.parquet_media import with_contents
from mmfeat.records.modalities import MODALITIES
from mmfeat.records.record import Record, Sample
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.layout import (
    FAR_THREADS,
    absent_keys,
    is_far,
    open_input,
    plan_input,
    plan_retry,
    selected,
)
from mmfeat.sharding.plan import read_plan, remove_plan
from mmfeat.sharding.retry import Retry, after_retry, further_shards, has_failed
from mmfeat.shards.samples_table import SamplesTable, metadata_columns
from mmfeat.shards.tar_writer import TarWriter
from mmfeat.sources import Source
from mmfeat.store import files
from mmfeat.store.directory import open_run
from mmfeat.store.manifest import finished_manifest, write_manifest
from mmfeat.store.receipts import (
    Receipt,
    format_counts,
    keys_digest,
    read_receipt,
    remove_shard,
    require_receipts,
    sum_receipts,
)
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage
from mmfeat.system import progress
from mmfeat.system.threads import ordered_map

_BATCH = 16
"""Records handed to a thread at a time."""

_ENOUGH = 100
"""Records after which the part of rejected ones is looked at."""


class Sharding(Stage):
    """The stage behind `mmfeat shard`."""

    name = "shard"

    def __init__(self, config: ShardConfig) -> None:
        self.config = config
        self.output = config.output
        self.processes = config.processes
        self.slots: tuple[str, ...] = ()
        self.config_hash = ""
        self._kinds: dict[str, str] = {}
        self._selected: dict[str, int] = {}
        self._retry: Retry | None = None
        self._before: Counter[str] = Counter()

    def plan(self) -> list[ShardTask]:
        """Plan the shards; needs one pass over the table, none over the media."""
        source = open_input(self.config)
        self.slots = source.slots
        shuffle = self.config.layout(in_order=source.in_order).shuffle
        settings = self.config.settings(source.describe(), shuffle)
        self.config_hash = open_run(self.output, "shards", settings)
        if self.config.retry_failed:
            return self._plan_retry(source)
        if manifest := self.finished_manifest():
            tasks = [
                self._task(shard["name"], shard["records"], shard["config_hash"])
                for shard in manifest["shards"]
            ]
            if all(task.done for task in tasks):
                return tasks
            if retry_shards(manifest):
                lost = next(task.shard for task in tasks if not task.done)
                raise MmfeatError(
                    f"a shard of {self.output} is lost, and the store was completed by "
                    "--retry-failed since it was first made",
                    got=lost,
                    cure="Bring its files back, or shard the input anew into another directory",
                )
        plan = plan_input(self.config, source, self.output, self.config_hash)
        self._kinds, self._selected = plan.columns, selected(plan)
        return [self._task(name, shard.records) for name, shard in plan.shards.items()]

    def _plan_retry(self, source: Source) -> list[ShardTask]:
        """The shards that are there, and further ones for the records that failed."""
        manifest = self.finished_manifest()
        if manifest is None:
            raise MmfeatError(
                f"--retry-failed needs a finished store, and {self.output} is none",
                cure="Run the command without it first",
            )
        self._retry = Retry(manifest)
        self._kinds = manifest["kinds"]
        tasks = [ShardTask(s["name"], s["records"], done=True) for s in manifest["shards"]]
        if not has_failed(self.output, manifest):
            return tasks
        config_hash = self._retry.config_hash(self.config_hash)
        plan = plan_retry(self.config, source, self._retry, manifest, config_hash)
        return tasks + [self._task(name, shard.records) for name, shard in plan.shards.items()]

    def _task(self, shard: str, records: int, config_hash: str = "") -> ShardTask:
        receipt = read_receipt(self.output, shard)
        if receipt is None or receipt.config_hash != (config_hash or self._hash_of(shard)):
            return ShardTask(shard, records)
        if self._retry and not receipt.out:
            return ShardTask(shard, records)  # tried before, for nothing: it may be mended by now
        self._before += Counter(records=receipt.records, failed=receipt.status.get("failed", 0))
        return ShardTask(shard, records, done=True)

    def _hash_of(self, shard: str) -> str:
        """What the receipt of a shard is to say."""
        retried = self._retry and shard not in self._retry.shards
        return self._retry.config_hash(self.config_hash) if retried and self._retry else (
            self.config_hash
        )  # fmt: skip

    def finished_manifest(self) -> dict[str, Any] | None:
        """The manifest of a finished store of this configuration."""
        return finished_manifest(self.output, self.config_hash)

    def load(self) -> "_Tally":
        """What all shards of a process share."""
        return _Tally(self.config.max_reject_rate, self._before)

    def process(self, task: ShardTask, loaded: "_Tally") -> Receipt:
        """Read the records' files, write the tar, the table and the receipt of one shard."""
        started = time.monotonic()
        records = read_plan(self.output, task.shard)
        required = set(self.config.required)
        rows = SamplesTable(self.slots, self._kinds)
        bytes_read = 0
        tar_name, table_name = f"{task.shard}.tar", f"{task.shard}.parquet"
        with files.create(files.join(self.output, tar_name)) as tar_file:
            tar = TarWriter(tar_file)
            for sample in self._read(records):
                status = _status(sample, required)
                bytes_read += _weight(sample)
                if status != "failed":
                    tar.write(sample)
                    rows.add(sample, status)
                elif self._retry:
                    rows.count(sample, status)  # it has its row from the first time
                else:
                    rows.add(sample, status)
                if not self._retry:
                    loaded.add(failed=status == "failed")
                progress.RECORDS_DONE.add(1)
            tar.close()
        with files.create(files.join(self.output, table_name)) as table_file:
            pq.write_table(rows.table(), table_file, compression="zstd")
        receipt = Receipt(
            shard=task.shard,
            config_hash=self._hash_of(task.shard),
            records=len(records),
            out=rows.status["ok"] + rows.status["partial"],
            rejected=dict(rows.rejected),
            status=dict(rows.status),
            problems=dict(rows.problems),
            files={tar_name: tar_file.info(), table_name: table_file.info()},
            keys_sha256=keys_digest(rows.keys),
            bytes_read=bytes_read,
            seconds=round(time.monotonic() - started, 3),
        )
        receipt.write(self.output)
        return receipt

    def _read(self, records: Sequence[Record]) -> Iterator[Sample]:
        """The samples of records, in their order.

        Far files are waited for by many threads. Near ones are read in batches by one thread
        beside this one; where other processes make shards meanwhile, by none.
        """
        reader = self.config.reader(self.slots, processes=self.processes)
        found = with_contents(records)
        far = any(is_far(part) for record in records for part in record.media.values())
        threads = self.config.threads or (FAR_THREADS if far else 1)
        if self.processes > 1 and not far and not self.config.threads:
            return map(reader.read, found)
        batch = 1 if far else _BATCH
        return ordered_map(reader.read, found, threads=threads, batch=batch, weight=_weight)

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the account over all shards and write the manifest."""
        receipts = require_receipts(self.output, shards)
        first = [r for r in receipts if not self._retry or r.shard in self._retry.shards]
        tried = [r for r in receipts if self._retry and r.shard not in self._retry.shards]
        sums = sum_receipts(first)
        listing = [_listing(receipt, receipt.records) for receipt in first]
        selection = self._selected
        if self._retry:
            listing = self._retry.listing + [_listing(r, r.out) for r in tried if r.out]
            sums, selection = after_retry(self._retry.totals, tried), self._retry.selection
        if not sums["out"]:
            raise MmfeatError(
                f"none of the {sums['records']} records of {self.config.input} is usable "
                f"({format_counts(sums['rejected'])})",
                cure=f"The tables in {self.output} say what happened to each; mend the input and "
                "name another output directory",
            )
        remove_plan(self.output)
        names = metadata_columns(self._kinds, self.slots)
        return write_manifest(
            self.output,
            "shards",
            self.config_hash,
            modalities=[slot for slot in self.slots if slot in MODALITIES],
            slots=list(self.slots),
            columns={names[name]: kind for name, kind in self._kinds.items()},
            kinds=self._kinds,
            selection=selection,
            shards=listing,
            totals=sums,
        )

    def clean_up(self, shards: Sequence[str]) -> None:
        """Remove further shards in which no record worked after all."""
        if self._retry is None:
            return
        for shard in shards:
            receipt = read_receipt(self.output, shard)
            if shard not in self._retry.shards and receipt and not receipt.out:
                remove_shard(self.output, receipt)

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """How many records were not wanted."""
        selection = manifest["selection"]
        left_out = selection.get("read", 0) - selection.get("wanted", 0)
        facts = {"not selected (not counted above)": left_out} if left_out else {}
        return facts | absent_keys(selection)


class _Tally:
    """Records and rejected ones, of shards made before and of this process; stops too many."""

    def __init__(self, most: float | None, before: Mapping[str, int]) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._records, self._failed = before.get("records", 0), before.get("failed", 0)

    def add(self, *, failed: bool) -> None:
        """Count a record.

        Raises:
            RunStoppedError: more than the permitted part of the records are rejected.
        """
        if self._most is None:
            return
        with self._lock:
            self._records += 1
            self._failed += failed
            records, rejected = self._records, self._failed
        if records >= _ENOUGH and rejected > self._most * records:
            raise RunStoppedError(
                f"--max-reject-rate is {self._most:g}, and {rejected} of {records} records are "
                "rejected; what was committed before stays"
            )


def _weight(sample: Sample) -> int:
    return sum(map(len, sample.members.values()))


def _listing(receipt: Receipt, rows: int) -> dict[str, Any]:
    facts = receipt.files[f"{receipt.shard}.tar"]
    return {
        "name": receipt.shard,
        "records": rows,
        "out": receipt.out,
        "sha256": facts["sha256"],
        "keys_sha256": receipt.keys_sha256,
        "config_hash": receipt.config_hash,
    }


def _status(sample: Sample, required: set[str]) -> str:
    """`ok`, `partial` where a part cannot be used, `failed` where nothing usable is left."""
    if not sample.members or required & sample.problems.keys():
        return "failed"
    return "partial" if sample.problems else "ok"
