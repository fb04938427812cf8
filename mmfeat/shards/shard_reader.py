"""Read a shard: the rows of its table side by side with the samples of its tar."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

from mmfeat.errors import DamagedFileError
from mmfeat.shards.shard_table import status_column
from mmfeat.shards.tar_reader import TarSample, read_tar
from mmfeat.storage import files
from mmfeat.store import CheckedStream, Receipt, iter_parquet, open_checked


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One input record of a shard.

    Attributes:
        key: its `__key__`.
        statuses: slot → `ok`, or the reason why sharding could not use it.
        sample: its bytes; None if sharding could not use the record.
    """

    key: str
    statuses: dict[str, str]
    sample: TarSample | None = None


def read_stored_shard(
    folder: str, receipt: Receipt, slots: Sequence[str], table: bytes | None = None
) -> Iterator[ShardRecord]:
    """Read a shard of a store, and check that its files have the bytes of its receipt.

    The table is checked first. The tar is checked while it is read: what was made from the records
    may be kept if the iterator ends without an error.

    Args:
        folder: the store.
        receipt: the receipt of the shard.
        slots: the slots of the store.
        table: the content of its table, if the caller has read and checked it.

    Raises:
        DamagedFileError: a file of the shard is damaged.
    """
    table_name, tar_name = f"{receipt.shard}.parquet", f"{receipt.shard}.tar"
    with (
        io.BytesIO(table)
        if table is not None
        else open_checked(files.join(folder, table_name), receipt.files[table_name]) as table_file,
        CheckedStream(files.join(folder, tar_name), receipt.files[tar_name]) as tar,
    ):
        try:
            yield from read_shard(table_file, cast(IO[bytes], tar), slots)
        except DamagedFileError as error:
            tar.check()  # other bytes are the better explanation
            raise DamagedFileError(
                f"shard {receipt.shard} of {folder} is damaged: {error.rule}", got=error.got
            ) from error
        tar.check()


def read_shard(table: IO[bytes], tar: IO[bytes], slots: Sequence[str]) -> Iterator[ShardRecord]:
    """Read the records of a shard in the order of its table.

    Args:
        table: the Parquet file of the shard.
        tar: the tar of the shard.
        slots: the slots of the store.

    Raises:
        DamagedFileError: the tar is damaged, or it lacks a sample of the table.
    """
    samples = _read_samples(tar)
    for key, status, statuses in _read_table(table, slots):
        if status == "failed":
            yield ShardRecord(key, statuses)
            continue
        sample = next(samples, None)
        if sample is None or sample.key != key:
            content = f"{sample.key!r}" if sample else "its end"
            raise DamagedFileError(f"the tar must have the sample {key!r} here", got=content)
        yield ShardRecord(key, statuses, sample)


def _read_samples(tar: IO[bytes]) -> Iterator[TarSample]:
    try:
        yield from read_tar(tar)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise DamagedFileError("the tar must be readable", got=str(error)) from error


def _read_table(
    table: IO[bytes], slots: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the key, the status and the status of each slot, row by row."""
    names = {slot: status_column(slot) for slot in slots}
    columns = ["__key__", "status", *names.values()]
    for batch in iter_parquet("its table", columns, file=table, texts=[*names.values()]):
        keys, overall, *of_slots = [batch.column(name).to_pylist() for name in columns]
        for key, status, *values in zip(keys, overall, *of_slots, strict=True):
            yield key, status, dict(zip(slots, values, strict=True))
