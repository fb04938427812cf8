"""Try records of a finished store again: failed ones, and others with a problem that can pass.

A record whose row changes for the better gets a new row, and a sample, in a retry shard. Its
earlier row stays, since feature columns may align with it. All totals count each record once, by
its newest row.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.records import (
    PASSING_REASON,
    EarlierRow,
    Sample,
    has_passing_problem,
    modality_of_slot,
)
from mmfeat.sharding.dedup import KeptMedium
from mmfeat.sharding.selection import RecordFilter
from mmfeat.shards import sha256_column
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    check_file,
    iter_parquet,
    json_digest,
    read_receipt,
    retry_shards,
    sum_receipts,
)
from mmfeat.system import external_sort


class Retry:
    """The state of a store before its records are tried again.

    Args:
        folder: the store.
        manifest: its manifest.
    """

    def __init__(self, folder: str, manifest: dict[str, Any]) -> None:
        self.shard_entries: list[dict[str, Any]] = manifest["shards"]
        self.shards = {shard["name"] for shard in self.shard_entries}
        self.selection: dict[str, int] = manifest["selection"]
        self.kinds: dict[str, str] = manifest.get("kinds", manifest["columns"])
        self._totals: dict[str, Any] = manifest["totals"]
        self._name_pattern = str(manifest["config"].get("shard_name"))
        self._retry_shards = {*retry_shards(manifest)}
        self._folder = folder

    @property
    def first_index(self) -> int:
        """Number of the first retry shard. Removed shards may leave gaps before it."""
        form = re.compile(re.sub(r"%0\dd", r"(?P<number>\\d+)", re.escape(self._name_pattern)))
        numbers = []
        for name in self.shards:
            match = form.fullmatch(name)
            if match is None or "number" not in form.groupindex:
                raise DamagedFileError(
                    f"the shards of {self._folder} must have names of the form "
                    f"{self._name_pattern!r}",
                    got=name,
                    cure="Restore the manifest from a copy",
                )
            numbers.append(int(match["number"]))
        return max(numbers, default=-1) + 1

    def config_hash(self, store_hash: str) -> str:
        """Return the hash in the receipts of the retry shards: it is specific to this retry."""
        return json_digest([store_hash, sorted(self.shards)])

    def has_records(self) -> bool:
        """Return whether there is anything to try again."""
        return next(self.records(), None) is not None

    def filter(self) -> RecordFilter:
        """Return a filter that selects the records to try again, with their current rows."""
        return RecordFilter(keys=self.records(), lookup=lambda record: str(record.row))

    def records(self) -> Iterator[tuple[str, EarlierRow]]:
        """Yield input row and current row of each record to try again."""
        for _, group in groupby(external_sort(self._row_lines()), key=lambda line: line[:12]):
            *_, newest = group
            number, _, values = newest.decode().split(" ", 2)
            row = EarlierRow(*json.loads(values))
            if _may_improve(row):
                yield str(int(number)), row

    def _row_lines(self) -> Iterator[bytes]:
        """Yield rows that may improve, and all rows of retry shards, which replace earlier ones."""
        for position, shard in enumerate(self.shard_entries):
            is_retry_shard = shard["name"] in self._retry_shards
            for number, row in _read_rows(self._folder, shard["name"]):
                if is_retry_shard or _may_improve(row):
                    yield f"{number:012d} {position:09d} {json.dumps(row)}\n".encode()

    def kept_media(self, slots: Iterable[str]) -> Iterator[KeptMedium]:
        """Yield the images and audio of all records of the store."""
        columns = {slot: sha256_column(slot) for slot in slots if modality_of_slot(slot) != "text"}
        for shard in self.shard_entries:
            names = ["input_row", "__key__", *columns.values()]
            for number, key, *digests in _read_columns(self._folder, shard["name"], names):
                for slot, digest in zip(columns, digests, strict=True):
                    if digest:
                        yield KeptMedium(number, key, slot, digest)

    def totals(self, retried: Sequence[Receipt]) -> dict[str, Any]:
        """Return the totals after the retry: without the replaced rows, and with the new ones.

        Args:
            retried: receipts of the retry shards.
        """
        if not retried:
            return self._totals
        before, added = self._totals, sum_receipts(retried)
        failed, partial = Counter[str](), Counter[str]()
        for receipt in retried:
            failed.update(receipt.replaced.get("failed", {}))
            partial.update(receipt.replaced.get("partial", {}))
        replaced = {
            "rejected": failed,
            "problems": failed + partial,
            "status": Counter(failed=failed.total(), partial=partial.total()),
        }
        counters = {
            name: dict(sorted((Counter(before[name]) - counts + Counter(added[name])).items()))
            for name, counts in replaced.items()
        }
        return {
            "records": before["records"],
            "out": before["out"] - partial.total() + added["out"],
            "bytes_read": before["bytes_read"] + added["bytes_read"],
            "bytes_written": before["bytes_written"] + added["bytes_written"],
            **counters,
        }


def is_better(sample: Sample, status: str, earlier: EarlierRow) -> bool:
    """Return whether a new row of a record replaces its earlier one.

    It does if the record has more usable parts and lacks none that it had; or if the same parts are
    unusable, and it is known now that this cannot pass.

    Args:
        sample: the record as read now.
        status: its status.
        earlier: its earlier row.
    """
    if (status == "failed") != (earlier.status == "failed"):
        return status != "failed"
    if status != "failed" and sample.problems.keys() != earlier.problems.keys():
        return sample.problems.keys() < earlier.problems.keys()
    can_pass = any(reason == PASSING_REASON for reason, _ in sample.problems.values())
    return earlier.can_pass and not can_pass


def count_passing(problems: Mapping[str, int]) -> Counter[str]:
    """Return the records whose problems can pass: reason → records."""
    return Counter({r: number for r, number in problems.items() if has_passing_problem(r)})


def _may_improve(row: EarlierRow) -> bool:
    """Return whether to try the record of a row again."""
    if row.status == "failed":
        return not _is_final(row.reason)
    return row.status == "partial" and row.can_pass


def _is_final(reason: str) -> bool:
    """Return whether a failed record is not tried again: a retry would drop a duplicate again."""
    return ":duplicate" in reason and not has_passing_problem(reason)


def _read_rows(folder: str, shard: str) -> Iterator[tuple[int, EarlierRow]]:
    """Yield the input row and the row of each record of a shard."""
    names = ["input_row", "__key__", "status", "reason", "error"]
    for number, key, status, reason, error in _read_columns(folder, shard, names):
        yield number, EarlierRow(key, status, reason or "", error or "")


def _read_columns(folder: str, shard: str, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns, row by row.

    Raises:
        DamagedFileError: the table is missing or damaged.
    """
    path = files.join(folder, f"{shard}.parquet")
    receipt = read_receipt(folder, shard)
    if receipt is None:
        raise DamagedFileError(
            f"shard {shard} of {folder} must be complete before its records are tried again",
            cure=f"Restore its files; mmfeat verify {shlex.quote(folder)} names them",
        )
    check_file(path, receipt.files[f"{shard}.parquet"])
    for batch in iter_parquet(path, names):
        yield from zip(*(batch[name].to_pylist() for name in names), strict=True)
