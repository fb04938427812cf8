"""The sharding stage: raw records → WebDataset tars, each with a samples table.

The way of a record:

    plan       source → filter → sort → plan
    process    plan → fetch → validate → resize → sample → tar and table
    finish     receipts of all shards → manifest
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.records import MODALITIES, Record, Sample, lacks_part, parse_problems
from mmfeat.sharding.advice import damage_advice, retry_advice
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.planning import (
    make_layout,
    open_input,
    plan_input,
    summarize_absent_keys,
)
from mmfeat.sharding.retry import Retry, count_passing
from mmfeat.sharding.sample_reader import leave_out_deadly, read_samples
from mmfeat.sharding.selection import Condition, key_file_sha256, require_key_file
from mmfeat.sharding.shard_plan import remove_plan
from mmfeat.sharding.shard_tasks import expected_hash, make_tasks, read_task_records
from mmfeat.sharding.shard_writer import RejectLimit, ShardWriter
from mmfeat.shards import SHARD_FILES, ShardTable, metadata_columns
from mmfeat.sources import Source
from mmfeat.storage import claim_planning
from mmfeat.store import (
    PlannedShard,
    Receipt,
    ShardAttempt,
    ShardTask,
    Stage,
    check_output,
    format_counts,
    list_receipts,
    match_run,
    open_run,
    read_receipt,
    remove_shard,
    require_receipts,
    retry_shards,
    write_manifest,
)
from mmfeat.system import progress


class Sharding(Stage):
    """The stage behind `mmfeat shard`.

    Args:
        config: options of the run.
        retry_command: the command that tries records again, to show it to the user.
    """

    name = "shard"

    def __init__(self, config: ShardConfig, retry_command: str = "") -> None:
        self.config = config
        self._retry_command = retry_command
        self.output = config.output
        self.max_processes = config.processes
        self.slots: tuple[str, ...] = ()
        self._media_folders: tuple[str, ...] = ()
        self._kinds: dict[str, str] = {}
        self._selection: dict[str, int] = {}
        self._source: Source | None = None
        self._retry: Retry | None = None
        self._was_finished = False
        self._committed: Counter[str] = Counter()

    def check_inputs(self) -> None:
        """Check --where and --keys, open the input, and keep it open for `plan`."""
        check_output(self.output, "shards")
        if self.config.where:
            Condition(self.config.where)
        if self.config.keys:
            require_key_file(self.config.keys)
        self._source = open_input(self.config)

    def plan(self) -> list[ShardTask]:
        """Plan the shards in one pass over the input, without reading media."""
        config = self.config
        check_output(self.output, "shards")
        source, self._source = self._source or open_input(config), None
        self.slots, self._media_folders = source.slots, source.media_folders
        keys_sha256 = key_file_sha256(config.keys) if config.keys else ""
        shuffle = make_layout(config, source).shuffle
        fingerprint = config.fingerprint(source.describe(), keys_sha256, shuffle)
        self.config_hash = match_run(self.output, "shards", fingerprint)
        if config.retry_failed:
            return self._plan_retry(source)
        if manifest := self.finished_manifest():
            self._was_finished = True
            entries = manifest["shards"]
            shards = (PlannedShard(entry["name"], entry["records"], 0) for entry in entries)
            tasks = self._tasks(shards, (entry["config_hash"] for entry in entries))
            if all(task.done for task in tasks):
                return tasks
            if retry_shards(manifest):
                lost = next(task.shard for task in tasks if not task.done)
                raise MmfeatError(
                    f"a shard of {self.output} is lost and cannot be made again, because "
                    "--retry-failed has changed the store",
                    got=lost,
                    cure="Restore its files, or shard the input into another directory",
                )
        with claim_planning(self.output, self.config_hash):
            match_run(self.output, "shards", fingerprint)  # by now it may be of another run
            plan = plan_input(config, source, self.config_hash)
            open_run(self.output, "shards", fingerprint)
        self._kinds, self._selection = plan.columns, plan.selection
        return self._tasks(plan.shards, repeat(self.config_hash))

    def _plan_retry(self, source: Source) -> list[ShardTask]:
        """Return the existing shards, and retry shards for the records to try again."""
        manifest = self.finished_manifest()
        if manifest is None:
            raise MmfeatError(
                f"--retry-failed needs a finished store, and {self.output} is not one",
                cure="Run the command without it first",
            )
        self._retry = Retry(self.output, manifest)
        self.expects_deaths = any("worker_died" in r for r in manifest["totals"]["problems"])
        self._kinds = self._retry.kinds
        tasks = [ShardTask(s["name"], s["records"], done=True) for s in manifest["shards"]]
        if not self._retry.has_records():
            return tasks
        config_hash = self._retry.config_hash(self.config_hash)
        plan = plan_input(self.config, source, config_hash, self._retry)
        return tasks + self._tasks(plan.shards, repeat(config_hash))

    def _tasks(self, shards: Iterable[PlannedShard], hashes: Iterable[str]) -> list[ShardTask]:
        """Return the task of each shard, given the configuration hash in its receipt."""
        planned = zip(shards, hashes, strict=False)
        return make_tasks(self.output, self.config_hash, planned, self._is_final, self._committed)

    def _is_final(self, receipt: Receipt, config_hash: str) -> bool:
        """Return whether a shard with this receipt is not made again."""
        if receipt.config_hash != config_hash:
            return False
        if self.config.retry_failed:  # without rows: its files may be repaired by now
            return receipt.records > 0
        lost = not receipt.out and count_passing(receipt.problems)
        return not lost or self._was_finished

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what workers do not need: it grows with the number of shards."""
        return self.__dict__ | {"_retry": None}

    def is_made(self, task: ShardTask) -> bool:
        """Return whether a shard has been made since it was planned."""
        return self._read_made(task) is not None

    def _read_made(self, task: ShardTask) -> Receipt | None:
        config_hash = expected_hash(task, self.config_hash)
        receipt = read_receipt(self.output, task.shard, expected_files=SHARD_FILES)
        return receipt if receipt and self._is_final(receipt, config_hash) else None

    def load(self) -> RejectLimit:
        """Return the limit that all shards of a process share."""
        return RejectLimit(self.config.max_reject_rate, self._committed)

    def process(self, task: ShardTask, loaded: RejectLimit) -> Receipt:
        """Read the samples of one shard; write its tar, its table and its receipt."""
        if not task.fresh and (made := self._read_made(task)):
            progress.RECORDS_DONE.add(task.records)
            return made
        started = time.monotonic()
        records = leave_out_deadly(read_task_records(self.output, task), task.deadly)
        attempt = ShardAttempt(self.output, task.shard, fresh=task.fresh)
        with attempt.create(f"{task.shard}.tar") as tar_file:
            table = ShardTable(self.slots, self._kinds)
            writer = ShardWriter(tar_file, table, self.config.required, loaded)
            for sample in self._read_samples(records):
                progress.RECORDS_DONE.add(1)
                writer.write(sample)
            writer.close()
        with (
            progress.METRICS.timed("write"),
            attempt.create(f"{task.shard}.parquet") as table_file,
        ):
            pq.write_table(table.to_arrow(), table_file, compression="zstd")
        receipt = Receipt(
            shard=task.shard,
            config_hash=expected_hash(task, self.config_hash),
            **writer.counts(),
            seconds=round(time.monotonic() - started, 3),
        )
        attempt.commit(receipt)
        return receipt

    def _read_samples(self, records: Sequence[Record]) -> Iterator[Sample]:
        return read_samples(records, self.config, self.slots, self._media_folders, self.processes)

    def try_records(self, task: ShardTask, rows: range, loaded: RejectLimit) -> None:
        """Read the samples of some records, and write nothing."""
        records = read_task_records(self.output, task)
        for _ in self._read_samples(records[rows.start : rows.stop]):
            pass

    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Check the counts of all shards and write the manifest."""
        receipts = require_receipts(self.output, shards, expected_files=SHARD_FILES)
        if self._retry:
            retried = [r for r in receipts if r.shard not in self._retry.shards]
            entries = self._retry.shard_entries + [_entry(r) for r in retried if r.records]
            totals, selection = self._retry.totals(retried), self._retry.selection
        else:
            totals, entries = list_receipts(receipts, _entry)
            selection = self._selection
        if not totals["out"]:
            cure = "Run the same command again when the server or the storage is back"
            if count_passing(totals["problems"]):
                remove_plan(self.output)  # it may name media that were unavailable
            else:
                cure = f"See the tables in {self.output}, fix the input, and name another directory"
            raise MmfeatError(
                f"none of the {totals['records']} records of {self.config.input} is usable "
                f"({format_counts(totals['rejected'])})",
                cure=cure,
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
            shards=entries,
            totals=totals,
        )

    def clean_up(self, shards: Sequence[str]) -> None:
        """Remove retry shards without rows."""
        if self._retry is None:
            return
        for shard in [shard for shard in shards if shard not in self._retry.shards]:
            receipt = read_receipt(self.output, shard)
            if receipt and not receipt.records:
                remove_shard(self.output, receipt)

    def is_partial(self, reason: str) -> bool:
        """Return whether records with the `reason` lack a part, if they are not rejected."""
        return lacks_part(parse_problems(reason, None))

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return how many records and keys were not selected."""
        selection = manifest["selection"]
        dropped = selection.get("read", 0) - selection.get("wanted", 0)
        summary = {"not selected (not counted above)": dropped} if dropped else {}
        return summary | summarize_absent_keys(selection)

    def advice(self, manifest: dict[str, Any]) -> list[str]:
        """Return how many records damaged tars have lost, and how to try others again."""
        problems = manifest["totals"]["problems"]
        return damage_advice(problems) + retry_advice(manifest, self._retry_command)


def _entry(receipt: Receipt) -> dict[str, Any]:
    """Return the entry of a shard in the manifest."""
    return {
        "name": receipt.shard,
        "records": receipt.records,
        "out": receipt.out,
        "sha256": receipt.files[f"{receipt.shard}.tar"]["sha256"],
        "keys_sha256": receipt.keys_sha256,
        "config_hash": sys.intern(receipt.config_hash),  # one object for a million shards
    }
