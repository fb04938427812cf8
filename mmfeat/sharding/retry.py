"""Trying the failed records of a finished store again.

A record that works now gets a row and a sample in a further shard; its row of the first time
stays where it is, for features may have been made of it. The account counts each record once.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from mmfeat.sharding.external_sort import external_sort
from mmfeat.store import files
from mmfeat.store.directory import json_digest
from mmfeat.store.receipts import Receipt, sum_receipts


class Retry:
    """What a store was before its failed records are tried again.

    Args:
        manifest: the finished store's.
    """

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.listing: list[dict[str, Any]] = manifest["shards"]
        self.shards = {shard["name"] for shard in self.listing}
        self.totals: dict[str, Any] = manifest["totals"]
        self.selection: dict[str, int] = manifest["selection"]
        self._pattern: str = manifest["config"]["shard_name"]

    @property
    def first_shard(self) -> int:
        """Number of the first further shard: shards that came to nothing leave gaps before it."""
        before, after = re.split(r"%0\dd", self._pattern)
        numbers = (int(name[len(before) : len(name) - len(after)]) for name in self.shards)
        return max(numbers, default=-1) + 1

    def config_hash(self, of_store: str) -> str:
        """What receipts of further shards say: they belong to this try and no other."""
        return json_digest([of_store, sorted(self.shards)])


def further_shards(manifest: dict[str, Any]) -> list[str]:
    """Names of the shards of a store that hold what did not work at first."""
    own = manifest["config_hash"]
    return [s["name"] for s in manifest["shards"] if s.get("config_hash", own) != own]


def failed_rows(folder: str, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Input row and key of the records that no shard has a sample of yet.

    Duplicates are left alone: they were not dropped by mischance.
    """

    def lines() -> Iterator[bytes]:
        for shard in manifest["shards"]:
            for row, key, status, reason in _rows(folder, shard["name"]):
                word = "settled" if status == "failed" and _is_duplicate(reason) else status
                yield f"{row:012d} {word} {key}\n".encode()

    for _, group in groupby(external_sort(lines()), key=lambda line: line[:12]):
        seen = list(group)
        if all(line[13:19] == b"failed" for line in seen):
            number, _, key = seen[0].rstrip(b"\n").decode().split(" ", 2)
            yield str(int(number)), key


def has_failed(folder: str, manifest: dict[str, Any]) -> bool:
    """Whether there is anything to try again."""
    return next(failed_rows(folder, manifest), None) is not None


def _is_duplicate(reason: str | None) -> bool:
    return ":duplicate" in (reason or "")


def _rows(folder: str, shard: str) -> Iterator[tuple[int, str, str, str | None]]:
    path = files.join(folder, f"{shard}.parquet")
    with files.open_input(path) as file, pq.ParquetFile(file) as table:
        for batch in table.iter_batches(columns=["input_row", "__key__", "status", "reason"]):
            for row in batch.to_pylist():
                yield row["input_row"], row["__key__"], row["status"], row["reason"]


def after_retry(before: dict[str, Any], tried: Sequence[Receipt]) -> dict[str, Any]:
    """The totals once all failed records were tried again: each record is counted once.

    Args:
        before: totals of the store before.
        tried: receipts of the further shards, which count all records that were tried.
    """
    if not tried:
        return before
    sums = sum_receipts(tried)
    settled = Counter({r: n for r, n in before["rejected"].items() if _is_duplicate(r)})
    problems = Counter(before["problems"]) - Counter(before["rejected"]) + settled
    status = Counter(before["status"])
    status["failed"] = settled.total()
    return {
        "records": before["records"],
        "out": before["out"] + sums["out"],
        "bytes_read": before["bytes_read"] + sums["bytes_read"],
        "bytes_written": before["bytes_written"] + sums["bytes_written"],
        "rejected": dict(sorted((settled + Counter(sums["rejected"])).items())),
        "status": dict(sorted((status + Counter(sums["status"])).items())),
        "problems": dict(sorted((problems + Counter(sums["problems"])).items())),
    }
