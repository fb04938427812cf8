"""Receipts: what happened to each shard.

A shard without a valid receipt does not exist. In every receipt, and over the whole store,
records in = records out + records rejected.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.storage.conditional import Upload
from mmfeat.storage.documents import (
    SMALL_BYTES,
    Count,
    FileName,
    Name,
    read_intact_document,
)
from mmfeat.store.schemas import Counts, Failure, RecordedFile

StatusAndReason: TypeAlias = tuple[str, str | None]
"""Status of a row, and its reason if it is not `ok`."""


@dataclass
class Receipt:
    """The counts and files of one shard."""

    shard: Name
    config_hash: str
    records: Count
    """Input records."""
    out: Count
    """Usable output records."""
    rejected: Counts = field(default_factory=dict)
    """Reason → records that are not in the output."""
    status: Counts = field(default_factory=dict)
    """`ok`, `partial`, `failed` → records."""
    problems: Counts = field(default_factory=dict)
    """Reason → records that lack a part, in the output or not."""
    files: dict[FileName, RecordedFile] = field(default_factory=dict)
    """File, relative to the store → bytes, sha256 and xxh3_128."""
    replaced: dict[str, Counts] = field(default_factory=dict)
    """Of a retry shard, the rows that its rows replace: status → reason → records."""
    keys_sha256: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    """What the shard was made from."""
    bytes_read: Count = 0
    seconds: float = 0.0

    @property
    def adds_up(self) -> bool:
        """Whether records in = records out + records rejected."""
        return self.records == self.out + sum(self.rejected.values())

    def write(self, folder: str, upload: Upload | None = None) -> None:
        """Commit the shard: check the counts, then write the receipt; see `files.create`."""
        if not self.adds_up:
            raise AssertionError(
                f"shard {self.shard}: {self.records} records in, {self.out} out and "
                f"{sum(self.rejected.values())} rejected do not add up"
            )
        files.write_json(files.join(folder, f"{self.shard}_stats.json"), asdict(self), upload)


def read_receipt(
    folder: str,
    shard: str,
    config_hash: str = "",
    *,
    expected_files: Sequence[str] = (),
    root: str = "",
) -> Receipt | None:
    """Read the receipt of a shard.

    A receipt is valid if it follows the rules of names, its counts add up, its files are those of
    the shard, and each of them exists with the recorded size.

    Args:
        folder: where the receipt is.
        shard: name of the shard.
        config_hash: the configuration the shard must be made with; empty = any.
        expected_files: files that the receipt must list, with `{}` for the shard: `{}.tar`.
        root: what the names of its files are relative to, if not to the same folder.

    Returns:
        None if the shard has no valid receipt and must be made (again).
    """
    path = files.join(folder, f"{shard}_stats.json")
    receipt = read_intact_document(path, Receipt, SMALL_BYTES)
    if receipt is None or receipt.shard != shard or not receipt.adds_up:
        return None
    if config_hash and receipt.config_hash != config_hash:
        return None
    if not {name.format(shard) for name in expected_files} <= receipt.files.keys():
        return None
    if not all(name.rpartition("/")[2].startswith(f"{shard}.") for name in receipt.files):
        return None
    for name, info in receipt.files.items():
        path = files.join(root or folder, name)
        if files.size(path) != info["bytes"]:
            return None
    return receipt


def require_receipts(
    folder: str,
    shards: Iterable[str],
    *,
    expected_files: Sequence[str] = (),
    root: str = "",
    failures_in: str = "",
) -> list[Receipt]:
    """Read the receipts of all shards of a store, in order.

    Args:
        folder: where the receipts are.
        shards: names of the shards.
        expected_files: as in `read_receipt`.
        root: what the names of files are relative to, if not to the same folder.
        failures_in: where failures are recorded, if not in the same folder.

    Raises:
        MmfeatError: shards are missing. The error has the reason of the first failed shard.
    """
    receipts, missing = [], []
    for shard in shards:
        receipt = read_receipt(folder, shard, expected_files=expected_files, root=root)
        if receipt:
            receipts.append(receipt)
        else:
            missing.append(shard)
    if missing:
        failures = read_failures(failures_in or folder)
        reason = next((f": {failures[shard]}" for shard in missing if shard in failures), "")
        raise MmfeatError(
            f"{len(missing)} of {len(missing) + len(receipts)} shards of {folder} are missing, "
            f"first {missing[0]}{reason}",
            cure="Run the same command again; it makes the missing shards only",
        )
    return receipts


def remove_shard(folder: str, receipt: Receipt) -> None:
    """Remove a shard. The receipt goes first: without it the shard does not exist."""
    for name in (f"{receipt.shard}_stats.json", *receipt.files):
        files.remove(files.join(folder, name))


def write_failure(folder: str, shard: str, error: str) -> None:
    """Record why a shard failed. The run continues, and the next run makes the shard."""
    path = files.join(folder, f"{shard}_failed.json")
    files.write_json(path, {"shard": shard, "error": error})


def clear_failure(folder: str, shard: str) -> None:
    """Remove the failure record of a shard that was made since."""
    files.remove(files.join(folder, f"{shard}_failed.json"))


def clear_failures(folder: str) -> None:
    """Remove all failure records of a store, all shards of which were made.

    A shard may have one if its receipt was written, but an error of the disk followed.
    """
    for name in files.list_names(folder):
        if name.endswith("_failed.json"):
            files.remove(files.join(folder, name))


def read_failures(folder: str) -> dict[str, str]:
    """Return the error of each failed shard: shard → error."""
    failures = {}
    for name in files.list_names(folder):
        if name.endswith("_failed.json"):
            record = read_intact_document(files.join(folder, name), Failure, SMALL_BYTES)
            error = record["error"] if record else "its record is damaged"
            failures[name.removesuffix("_failed.json")] = error
    return failures


def sum_receipts(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Add up receipts and check that in = out + rejected."""
    totals: dict[str, Any] = {"records": 0, "out": 0, "bytes_read": 0, "bytes_written": 0}
    counters: dict[str, Counter[str]] = {
        "rejected": Counter(), "status": Counter(), "problems": Counter()
    }  # fmt: skip
    for receipt in receipts:
        totals["records"] += receipt.records
        totals["out"] += receipt.out
        totals["bytes_read"] += receipt.bytes_read
        totals["bytes_written"] += sum(info["bytes"] for info in receipt.files.values())
        for name, counter in counters.items():
            counter.update(getattr(receipt, name))
    totals |= {name: dict(sorted(counter.items())) for name, counter in counters.items()}
    if totals["records"] != totals["out"] + sum(totals["rejected"].values()):
        raise AssertionError(f"the totals of the store do not add up: {totals}")
    return totals


def subtract(totals: dict[str, Any], rows: Counter[StatusAndReason]) -> dict[str, Any]:
    """Remove rows from the totals of a column.

    Args:
        totals: as `sum_receipts` returns them.
        rows: status and reason → rows to remove. A row without a reason is in the output.
    """
    rejected = Counter[str]()
    status = Counter[str]()
    for (word, reason), count in rows.items():
        status[word] += count
        if reason is not None:
            rejected[reason] += count
    return totals | {
        "records": totals["records"] - rows.total(),
        "out": totals["out"] - (rows.total() - rejected.total()),
        "rejected": dict(sorted((Counter(totals["rejected"]) - rejected).items())),
        "status": dict(sorted((Counter(totals["status"]) - status).items())),
    }


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts for a message: `{"image:missing": 3}` → `image:missing 3`."""
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def keys_digest(keys: Iterable[str]) -> str:
    """Return the sha256 of the keys of a shard in order. Tables with equal digests align."""
    sha256 = hashlib.sha256()
    for key in keys:
        sha256.update(key.encode() + b"\n")
    return sha256.hexdigest()
