"""Retry the failed records of a finished store.

A record that now works gets a row and a sample in an retry shard. Its first row stays, since
feature columns may align with it. All totals count each record once.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from mmfeat.sharding.record_filter import RecordFilter
from mmfeat.store import Receipt, files, json_digest, sum_receipts
from mmfeat.system import external_sort


class Retry:
    """The state of a store before its failed records are retried.

    Args:
        folder: the store.
        manifest: its manifest.
    """

    def __init__(self, folder: str, manifest: dict[str, Any]) -> None:
        self.shard_entries: list[dict[str, Any]] = manifest["shards"]
        self.shards = {shard["name"] for shard in self.shard_entries}
        self.selection: dict[str, int] = manifest["selection"]
        self.kinds: dict[str, str] = manifest["kinds"]
        self._totals: dict[str, Any] = manifest["totals"]
        self._name_pattern: str = manifest["config"]["shard_name"]
        self._folder = folder

    @property
    def first_index(self) -> int:
        """Number of the first retry shard. Removed shards may leave gaps before it."""
        prefix, suffix = re.split(r"%0\dd", self._name_pattern)
        numbers = (int(name[len(prefix) : len(name) - len(suffix)]) for name in self.shards)
        return max(numbers, default=-1) + 1

    def config_hash(self, store_hash: str) -> str:
        """Return the hash in the receipts of the retry shards: it is specific to this retry."""
        return json_digest([store_hash, sorted(self.shards)])

    def has_failed_records(self) -> bool:
        """Return whether there is anything to retry."""
        return next(self.failed_records(), None) is not None

    def filter(self) -> RecordFilter:
        """Return a filter that selects the failed records and gives them their keys."""
        return RecordFilter(keys=self.failed_records(), lookup=lambda record: str(record.row))

    def failed_records(self) -> Iterator[tuple[str, str]]:
        """Yield input row and key of the records that have no sample in any shard.

        Duplicates are left out: a retry would drop them again.
        """
        for _, group in groupby(external_sort(self._status_lines()), key=lambda line: line[:12]):
            lines = list(group)
            if all(line[13:19] == b"failed" for line in lines):
                row, _, key = lines[0].rstrip(b"\n").decode().split(" ", 2)
                yield str(int(row)), key

    def _status_lines(self) -> Iterator[bytes]:
        for shard in self.shard_entries:
            for row, key, status, reason in _read_rows(self._folder, shard["name"]):
                word = "final" if status == "failed" and _is_duplicate(reason) else status
                yield f"{row:012d} {word} {key}\n".encode()

    def totals(self, retried: Sequence[Receipt]) -> dict[str, Any]:
        """Return the totals after the retry.

        Args:
            retried: receipts of the retry shards, which count all retried records.
        """
        before = self._totals
        if not retried:
            return before
        sums = sum_receipts(retried)
        duplicates = Counter({r: n for r, n in before["rejected"].items() if _is_duplicate(r)})
        problems = Counter(before["problems"]) - Counter(before["rejected"]) + duplicates
        status = Counter(before["status"])
        status["failed"] = duplicates.total()
        return {
            "records": before["records"],
            "out": before["out"] + sums["out"],
            "bytes_read": before["bytes_read"] + sums["bytes_read"],
            "bytes_written": before["bytes_written"] + sums["bytes_written"],
            "rejected": dict(sorted((duplicates + Counter(sums["rejected"])).items())),
            "status": dict(sorted((status + Counter(sums["status"])).items())),
            "problems": dict(sorted((problems + Counter(sums["problems"])).items())),
        }


def _is_duplicate(reason: str | None) -> bool:
    return ":duplicate" in (reason or "")


def _read_rows(folder: str, shard: str) -> Iterator[tuple[int, str, str, str | None]]:
    path = files.join(folder, f"{shard}.parquet")
    with files.open_input(path) as file, pq.ParquetFile(file) as table:
        for batch in table.iter_batches(columns=["input_row", "__key__", "status", "reason"]):
            for row in batch.to_pylist():
                yield row["input_row"], row["__key__"], row["status"], row["reason"]
