"""Check one part of a store: its receipt, its files, and that their rows are those it counts."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.features import read_column_file
from mmfeat.shards import index_tar
from mmfeat.storage import SMALL_BYTES, files, read_document
from mmfeat.store import Receipt, RecordedFile, iter_parquet, keys_digest, record_file
from mmfeat.verification.parts import Damage, Part


def check_part(part: Part) -> tuple[Receipt | None, list[Damage]]:
    """Check a part. Its files are read whole, and once more by the program that reads them.

    Returns:
        The receipt, None if it is damaged; and what is damaged.
    """
    try:
        receipt = read_document(part.receipt_path, Receipt, SMALL_BYTES)
    except DamagedFileError as error:
        return None, [Damage(part.receipt_path, _explain(error), part)]
    if receipt is None:
        return None, [Damage(part.receipt_path, "is missing", part)]
    if problem := _check_receipt(receipt, part):
        return None, [Damage(part.receipt_path, problem, part)]
    damages = []
    for name, info in receipt.files.items():
        path = files.join(part.root, name)
        if problem := check_bytes(path, info):
            damages.append(Damage(path, problem, part))
    if not damages:
        damages = [Damage(path, problem, part) for path, problem in _check_rows(receipt, part)]
    return receipt, damages


def _check_receipt(receipt: Receipt, part: Part) -> str:
    """Return what contradicts the manifest or the receipt itself; empty if nothing does."""
    facts: dict[str, Any] = {"keys_sha256": receipt.keys_sha256, "records": receipt.records}
    if part.table == "shards":
        facts |= {"out": receipt.out}
        tar = receipt.files.get(f"{part.shard}.tar")
        if tar is None or f"{part.shard}.parquet" not in receipt.files:
            return "does not list a tar and a table"
        facts["sha256"] = tar["sha256"]
    elif len(receipt.files) != 1:
        return "does not list one file"
    if receipt.shard != part.shard:
        return f"is of shard {receipt.shard}"
    if part.config_hash and receipt.config_hash != part.config_hash:
        return "is of another configuration"
    if not receipt.adds_up:
        return "does not add up: records in are not records out + records rejected"
    differing = [name for name, value in facts.items() if part.entry.get(name, value) != value]
    return f"contradicts the manifest: {', '.join(differing)}" if differing else ""


def check_bytes(path: str, info: RecordedFile) -> str:
    """Return how a file differs from what a receipt records of it; empty if it does not."""
    size = files.size(path)
    if size is None:
        return "is missing"
    if size != info["bytes"]:
        return f"has {size:,} bytes instead of {info['bytes']:,}"
    found = record_file(path)
    differing = [name for name in found if info.get(name, found[name]) != found[name]]  # type: ignore[literal-required]
    return f"has another {differing[0]} than its receipt" if differing else ""


def _check_rows(receipt: Receipt, part: Part) -> Iterator[tuple[str, str]]:
    """Yield the files whose content is not what the receipt counts, with the problem."""
    for name in receipt.files:
        path = files.join(part.root, name)
        try:
            if part.column is not None:
                problem = _check_column(path, receipt, part)
            elif name.endswith(".tar"):
                problem = _check_tar(path, files.join(part.root, f"{part.shard}.parquet"))
            else:
                problem = _check_keys(path, receipt, part)
        except (DamagedFileError, RecordError) as error:
            problem = _explain(error)
        if problem:
            yield path, problem


def _check_keys(path: str, receipt: Receipt, part: Part) -> str:
    """Check the keys of a table: receipts that align have the same digest of keys."""
    rows = 0

    def keys() -> Iterator[str]:
        nonlocal rows
        for batch in iter_parquet(path):  # all columns, so that all can be read
            rows += len(batch)
            yield from batch["__key__"].to_pylist()

    if keys_digest(keys()) != receipt.keys_sha256:
        return "has other keys than its receipt"
    if part.table != "shards" and rows != receipt.records:  # retried records may have no row
        return f"has {rows:,} rows instead of {receipt.records:,}"
    return ""


def _check_column(path: str, receipt: Receipt, part: Part) -> str:
    assert part.column is not None
    info = next(iter(receipt.files.values()))
    rows = read_column_file(path, info, part.column.shape)
    if len(rows.present) != receipt.records:
        return f"has {len(rows.present):,} rows instead of {receipt.records:,}"
    if (present := int(rows.present.sum())) != receipt.out:
        return f"has {present:,} features instead of {receipt.out:,}"
    return ""


def _check_tar(path: str, table: str) -> str:
    """Check that WebDataset reads a tar, and finds the samples of its table in their order."""
    # The headers are checked first: WebDataset reads members of any size.
    for sample in index_tar(path, Counter()):
        if sample.problems:
            return f"has a member that must not be read: {next(iter(sample.problems.values()))[1]}"
    with files.open_input(path) as file:
        for expected, key in zip_longest(_keys_in_tar(table), _webdataset_keys(file)):
            if expected != key:
                return f"has the sample {key!r} where the table has {expected!r}"
    return ""


def _keys_in_tar(table: str) -> Iterator[str]:
    for batch in iter_parquet(table, ["__key__", "status"]):
        keys, statuses = batch["__key__"].to_pylist(), batch["status"].to_pylist()
        for key, status in zip(keys, statuses, strict=True):
            if status != "failed":
                yield key


def _webdataset_keys(file: Any) -> Iterator[str]:
    from webdataset.tariterators import group_by_keys, tar_file_iterator  # imports torch

    try:
        members = ({**member, "__url__": ""} for member in tar_file_iterator(file))
        for sample in group_by_keys(members):
            yield sample["__key__"]
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise RecordError("damaged_shard", f"WebDataset cannot read it: {error}") from error


def _explain(error: DamagedFileError | RecordError) -> str:
    if isinstance(error, RecordError):
        return error.detail
    return error.rule + (f"; got {error.got!r}" if error.got is not None else "")
