"""Read a shard: the rows of its table side by side with the samples of its tar."""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow.parquet as pq

from mmfeat.errors import RecordError
from mmfeat.shards.shard_table import status_column
from mmfeat.shards.tar_reader import TarSample, read_tar


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One input record of a shard.

    Attributes:
        key: its `__key__`.
        statuses: slot → `ok`, or the reason why sharding could not use it.
        sample: its bytes; None if the record is not in the tar.
        problem: why the tar lacks a sample that the table lists.
    """

    key: str
    statuses: dict[str, str]
    sample: TarSample | None = None
    problem: RecordError | None = None


def read_shard(table: IO[bytes], tar: IO[bytes], slots: Sequence[str]) -> Iterator[ShardRecord]:
    """Read the records of a shard in the order of its table.

    If the tar is damaged, only the samples after the damage are lost.

    Args:
        table: the Parquet file of the shard.
        tar: the tar of the shard.
        slots: the slots of the store.
    """
    samples = _read_until_damage(tar)
    damage: RecordError | None = None
    for key, status, statuses in _read_table(table, slots):
        if status == "failed":
            yield ShardRecord(key, statuses)
            continue
        if damage is None:
            sample = next(samples, None)
            if isinstance(sample, TarSample) and sample.key == key:
                yield ShardRecord(key, statuses, sample=sample)
                continue
            damage = _damage_at(key, sample)
        yield ShardRecord(key, statuses, problem=damage)


def _read_until_damage(tar: IO[bytes]) -> Iterator[TarSample | RecordError]:
    try:
        yield from read_tar(tar)
    except (tarfile.TarError, EOFError) as error:
        yield RecordError("damaged_shard", str(error))


def _damage_at(key: str, sample: TarSample | RecordError | None) -> RecordError:
    if isinstance(sample, RecordError):
        return sample
    content = f"the tar has {sample.key!r}" if sample else "the tar ends"
    return RecordError("damaged_shard", f"{content} where {key!r} should stand")


def _read_table(
    table: IO[bytes], slots: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the key, the status and the status of each slot, row by row."""
    with pq.ParquetFile(table) as file:
        names = {slot: status_column(slot) for slot in slots}
        columns = ["__key__", "status", *names.values()]
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            for row in batch.to_pylist():
                statuses = {slot: row[name] for slot, name in names.items()}
                yield row["__key__"], row["status"], statuses
