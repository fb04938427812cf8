"""Read the records of a store of shards."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from mmfeat.errors import DamagedFileError, MmfeatError, RecordError
from mmfeat.extraction import find_member
from mmfeat.shards import SHARD_FILES, ShardRecord, read_stored_shard
from mmfeat.store import read_manifest, read_receipt
from pipelines.library.elements import StoredSample


class StoredShard(NamedTuple):
    """A shard of a store, and the slots of its records."""

    folder: str
    name: str
    slots: tuple[str, ...]


def list_shards(folder: str) -> Iterator[StoredShard]:
    """Yield the shards of a store."""
    manifest = read_manifest(folder, "shards")
    slots = tuple(manifest["slots"])
    for shard in manifest["shards"]:
        yield StoredShard(folder, shard["name"], slots)


def _list_encoded(folder: bytes) -> Iterator[StoredShard]:
    return list_shards(os.fsdecode(folder))


def read_samples(shard: StoredShard) -> Iterator[StoredSample]:
    """Yield the records of a shard in order, and check its bytes against its receipt.

    Raises:
        DamagedFileError: a file is missing or damaged.
    """
    receipt = read_receipt(shard.folder, shard.name, expected_files=SHARD_FILES)
    if receipt is None:
        raise DamagedFileError(
            f"shard {shard.name} of {shard.folder} is missing or damaged",
            cure=f"Run mmfeat verify {shard.folder}",
        )
    for record in read_stored_shard(shard.folder, receipt, shard.slots):
        yield _to_sample(record, shard.slots)


def _to_sample(record: ShardRecord, slots: tuple[str, ...]) -> StoredSample:
    media: dict[str, bytes] = {}
    reasons: dict[str, str] = {}
    for slot in slots:
        status = record.statuses.get(slot, "missing")
        try:
            content = find_member(record, slot)
        except RecordError as error:
            content, status = None, error.reason
        if content is not None:
            media[slot] = bytes(content)
        else:  # the record was rejected for another part
            reasons[slot] = "missing" if status == "ok" else status
    return StoredSample(record.key, media, reasons)


@beam.typehints.with_output_types(StoredSample)
@dataclass
class ReadShards(beam.PTransform):
    """Reads all records of a store of shards, also the rejected ones.

    The workers read the shards, so they must reach the store. Each shard is checked against its
    receipt; a damaged shard fails the pipeline.

    Args:
        shards: output directory of `mmfeat shard`, a path or a URL.
    """

    shards: str

    def __post_init__(self) -> None:
        super().__init__()
        if not self.shards:
            raise MmfeatError("ReadShards needs the directory of the shards", got=self.shards)

    def expand(self, begin: Any) -> beam.PCollection:
        """List the shards in one worker, spread them, and read each in one worker."""
        return (
            begin
            | "Store" >> beam.Create([os.fsencode(self.shards)])  # Beam encodes texts as UTF-8
            | "ListShards" >> beam.FlatMap(_list_encoded)
            | "Spread" >> beam.Reshuffle()
            | "ReadShard" >> beam.FlatMap(read_samples)
        )
