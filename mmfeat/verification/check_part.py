"""Check one part of a store: its receipt, its files, and that their rows are those it counts."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.features import read_column_file
from mmfeat.storage import SMALL_BYTES, files, read_document
from mmfeat.store import Receipt, iter_parquet, keys_digest
from mmfeat.verification.check_bytes import check_bytes
from mmfeat.verification.check_tar import check_tar
from mmfeat.verification.parts import Damage, Part


def check_part(part: Part) -> tuple[Receipt | None, list[Damage]]:
    """Check a part: its receipt, the bytes of its files, and that other programs read them.

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
    return receipt, [Damage(path, problem, part) for path, problem in _check_files(receipt, part)]


def _check_receipt(receipt: Receipt, part: Part) -> str:
    """Return what contradicts the manifest or the receipt itself; empty if nothing does."""
    facts: dict[str, Any] = {"keys_sha256": receipt.keys_sha256, "records": receipt.records}
    if part.table == "shards":
        facts |= {"out": receipt.out}
        tar = receipt.files.get(f"{part.shard}.tar")
        if tar is None or f"{part.shard}.parquet" not in receipt.files:
            return "does not list a tar and a table"
        facts["sha256"] = tar["sha256"]
    elif len(receipt.files) != 1 and not _is_partitioned(receipt, part):
        return "does not list one file"
    if receipt.shard != part.shard:
        return f"is of shard {receipt.shard}"
    if part.config_hash and receipt.config_hash != part.config_hash:
        return "is of another configuration"
    if not receipt.adds_up:
        return "does not add up: records in are not records out + records rejected"
    differing = [name for name, value in facts.items() if part.entry.get(name, value) != value]
    return f"contradicts the manifest: {', '.join(differing)}" if differing else ""


def _is_partitioned(receipt: Receipt, part: Part) -> bool:
    """Return whether predictions are in a file per value of a column, or have no row."""
    return part.table == "predictions" and all("=" in name for name in receipt.files)


def _check_files(receipt: Receipt, part: Part) -> Iterator[tuple[str, str]]:
    """Yield the damaged files, with the problem. The table of a tar comes before the tar."""
    damaged: set[str] = set()
    if _is_partitioned(receipt, part):
        yield from _check_partitions(receipt, part)
        return
    for name in sorted(receipt.files, key=lambda name: name.endswith(".tar")):
        path, info = files.join(part.root, name), receipt.files[name]
        try:
            if part.column is not None:
                problem = check_bytes(path, info) or _check_column(path, receipt, part)
            elif not name.endswith(".tar"):
                problem = check_bytes(path, info) or _check_keys([path], receipt, part)
            elif damaged:  # its keys are unknown
                problem = check_bytes(path, info)
            else:
                table = files.join(part.root, f"{part.shard}.parquet")
                problem = check_tar(path, info, partial(_read_keys, table))
        except (DamagedFileError, RecordError) as error:
            problem = _explain(error)
        if problem:
            damaged.add(name)
            yield path, problem


def _check_partitions(receipt: Receipt, part: Part) -> Iterator[tuple[str, str]]:
    """Yield the damaged files of a shard in partitions; the first one if their keys are wrong."""
    paths = [files.join(part.root, name) for name in sorted(receipt.files)]
    infos = [receipt.files[name] for name in sorted(receipt.files)]
    problems = [(path, check_bytes(path, info)) for path, info in zip(paths, infos, strict=True)]
    if any(problem for _, problem in problems):
        yield from ((path, problem) for path, problem in problems if problem)
        return
    try:
        problem = _check_keys(paths, receipt, part)
    except (DamagedFileError, RecordError) as error:
        problem = _explain(error)
    if problem:
        yield paths[0] if paths else part.receipt_path, problem


def _check_keys(paths: Sequence[str], receipt: Receipt, part: Part) -> str:
    """Check the keys of a table: receipts that align have the same digest of keys."""
    rows = 0

    def keys() -> Iterator[str]:
        nonlocal rows
        for batch in (batch for path in paths for batch in iter_parquet(path)):  # all columns
            rows += len(batch)
            if rows > receipt.records:
                raise DamagedFileError(f"has more rows than the {receipt.records:,} of its receipt")
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


def _read_keys(table: str) -> Iterator[str]:
    """Yield the keys of the records that are in the tar of a table."""
    for batch in iter_parquet(table, ["__key__", "status"]):
        keys, statuses = batch["__key__"].to_pylist(), batch["status"].to_pylist()
        for key, status in zip(keys, statuses, strict=True):
            if status != "failed":
                yield key


def _explain(error: DamagedFileError | RecordError) -> str:
    if isinstance(error, RecordError):
        return error.detail
    return error.rule + (f"; got {error.got!r}" if error.got is not None else "")
