"""Receipts: what happened to each shard.

A shard without a valid receipt does not exist. In every receipt, and over the whole store,
records in = records out + records rejected.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import files
from mmfeat.storage.conditional import Upload
from mmfeat.storage.documents import SMALL_BYTES, Count, FileName, Name, read_intact_document
from mmfeat.storage.many_files import FileSizes
from mmfeat.store.schemas import Counts, RecordedFile
from mmfeat.store.unfinished import read_failures
from mmfeat.system import ordered_map

_REMOTE_THREADS = 32
"""Receipts that are read at the same time, as far as the client opens connections."""


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
    monitoring: dict[str, Any] = field(default_factory=dict)
    """Numbers about the content of the shard that add up over shards; left out if empty."""
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
        document = asdict(self)
        if not self.monitoring:
            del document["monitoring"]
        files.write_json(files.join(folder, f"{self.shard}_stats.json"), document, upload)


def read_receipt(
    folder: str,
    shard: str,
    config_hash: str = "",
    *,
    expected_files: Sequence[str] = (),
    root: str = "",
    sizes: FileSizes | None = None,
) -> Receipt | None:
    """Read the receipt of a shard.

    A receipt is valid if it follows the rules of names, its counts add up, its files are those of
    the shard, and each of them exists with the recorded size. In remote storage, sizes are compared
    with `sizes` only. Whoever reads a file compares its digest.

    Args:
        folder: where the receipt is.
        shard: name of the shard.
        config_hash: the configuration the shard must be made with; empty = any.
        expected_files: files that the receipt must list, with `{}` for the shard: `{}.tar`.
        root: what the names of its files are relative to, if not to the same folder.
        sizes: sizes of the files.

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
    find_size = sizes or (files.size if files.is_local(folder) else None)
    if find_size is None:
        return receipt
    for name, info in receipt.files.items():
        if find_size(files.join(root or folder, name)) != info["bytes"]:
            return None
    return receipt


def require_receipt(folder: str, shard: str) -> Receipt:
    """Read the receipt of a shard.

    Raises:
        DamagedFileError: there is no valid one.
    """
    receipt = read_receipt(folder, shard)
    if receipt is None:
        raise DamagedFileError(
            f"shard {shard} of {folder} is missing or damaged",
            cure="Run the command that makes it again",
        )
    return receipt


def read_receipts(
    folder: str,
    shards: Iterable[str],
    config_hash: str = "",
    *,
    expected_files: Sequence[str] = (),
    root: str = "",
    sizes: FileSizes,
) -> Iterator[Receipt | None]:
    """Yield the receipts of shards, in order; None if a shard has no valid one.

    Remote storage is listed once, and many receipts are read at the same time. Arguments as in
    `read_receipt`.
    """

    is_local = files.is_local(folder)

    def read(shard: str) -> Receipt | None:
        if not is_local and sizes(files.join(folder, f"{shard}_stats.json")) is None:
            return None  # a listing knows it, without a request
        return read_receipt(
            folder, shard, config_hash, expected_files=expected_files, root=root, sizes=sizes
        )

    if is_local:
        return map(read, shards)
    return ordered_map(read, shards, threads=_REMOTE_THREADS)


def require_receipts(
    folder: str,
    shards: Iterable[str],
    *,
    expected_files: Sequence[str] = (),
    root: str = "",
    failures_in: str = "",
) -> Iterator[Receipt]:
    """Yield the receipts of all shards of a store, in order.

    Args:
        folder: where the receipts are.
        shards: names of the shards.
        expected_files: as in `read_receipt`.
        root: what the names of files are relative to, if not to the same folder.
        failures_in: where failures are recorded, if not in the same folder.

    Raises:
        MmfeatError: shards are missing, after all others. The error has the reason of the first
            failed shard.
    """
    shards = list(shards)
    missing = []
    receipts = read_receipts(
        folder, shards, expected_files=expected_files, root=root, sizes=FileSizes()
    )
    for shard, receipt in zip(shards, receipts, strict=True):
        if receipt:
            yield receipt
        else:
            missing.append(shard)
    if missing:
        raise missing_error(folder, missing, len(shards), failures_in=failures_in or folder)


def missing_error(
    folder: str, missing: Sequence[str], number: int, *, failures_in: str
) -> MmfeatError:
    """Return the error about missing shards, with the reason of the first failed one.

    Args:
        folder: where the receipts are.
        missing: the missing shards.
        number: number of all shards.
        failures_in: where failures are recorded.
    """
    failures = read_failures(failures_in)
    reason = next((f": {failures[shard]}" for shard in missing if shard in failures), "")
    cure = "Run the same command again; it makes the missing shards only"
    if reason.startswith(": --"):  # an option is at fault, and the reason has the cure
        cure = ""
    return MmfeatError(
        f"{len(missing)} of {number} shards of {folder} are missing, first {missing[0]}{reason}",
        cure=cure,
    )


def remove_shard(folder: str, receipt: Receipt) -> None:
    """Remove a shard. The receipt goes first: without it the shard does not exist."""
    for name in (f"{receipt.shard}_stats.json", *receipt.files):
        files.remove_file(files.join(folder, name))


def keys_digest(keys: Iterable[str]) -> str:
    """Return the sha256 of the keys of a shard in order. Tables with equal digests align."""
    sha256 = hashlib.sha256()
    remaining = iter(keys)
    while block := list(islice(remaining, 4096)):
        sha256.update("\n".join(block).encode() + b"\n")
    return sha256.hexdigest()
