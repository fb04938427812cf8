"""Rows and samples side by side: the table says which records are, the tar has their bytes."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow.parquet as pq

from mmfeat.errors import RecordError
from mmfeat.shards.tar import TarSample, read_tar


@dataclass(frozen=True, slots=True)
class Row:
    """One input record of a shard.

    Attributes:
        key: its `__key__`.
        statuses: modality → `ok`, or the reason why sharding did not find it.
        sample: its bytes; None where the record is not in the tar.
        problem: why its bytes are not there although the table says so.
    """

    key: str
    statuses: dict[str, str]
    sample: TarSample | None = None
    problem: RecordError | None = None


def aligned_rows(table: IO[bytes], tar: IO[bytes]) -> Iterator[Row]:
    """The rows of a shard's table in order, each with its sample from the tar.

    A tar that breaks or ends early costs the samples behind the break, and only those.
    """
    samples = _until_damage(tar)
    damage: RecordError | None = None
    for key, status, statuses in _table_rows(table):
        if status == "failed":
            yield Row(key, statuses)
            continue
        if damage is None:
            found = next(samples, None)
            if isinstance(found, TarSample) and found.key == key:
                yield Row(key, statuses, sample=found)
                continue
            damage = _damage(key, found)
        yield Row(key, statuses, problem=damage)


def _until_damage(tar: IO[bytes]) -> Iterator[TarSample | RecordError]:
    try:
        yield from read_tar(tar)
    except (tarfile.TarError, EOFError) as error:
        yield RecordError("damaged_shard", str(error))


def _damage(key: str, found: TarSample | RecordError | None) -> RecordError:
    if isinstance(found, RecordError):
        return found
    seen = f"the tar has {found.key!r}" if found else "the tar ends"
    return RecordError("damaged_shard", f"{seen} where {key!r} should stand")


def _table_rows(table: IO[bytes]) -> Iterator[tuple[str, str, dict[str, str]]]:
    with pq.ParquetFile(table) as file:
        names = [name for name in file.schema_arrow.names if name.endswith("_status")]
        columns = ["__key__", "status", *names]
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            for row in batch.to_pylist():
                statuses = {name.removesuffix("_status"): row[name] for name in names}
                yield row["__key__"], row["status"], statuses
