"""Exact duplicates: media that an earlier record of the store has byte for byte.

    plan → digest of every medium → sorted by digest → marks, sorted by record → plan with marks

Who comes first is a matter of the input's order alone, so the same input always keeps the same
record. Digests and names cross the sorts, bytes do not.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from mmfeat.errors import RecordError
from mmfeat.media.fetch import ContentReader
from mmfeat.media.parquet_media import with_contents
from mmfeat.records.modalities import modality_of_slot
from mmfeat.records.record import Record
from mmfeat.sharding.external_sort import RUN_BYTES, external_sort
from mmfeat.system.threads import ordered_map

Mark = tuple[str, str]
"""Slot, and what to say of it."""


def find_duplicates(
    shards: Iterable[tuple[str, list[Record]]],
    contents: ContentReader,
    *,
    threads: int,
    run_bytes: int = RUN_BYTES,
) -> Iterator[tuple[str, dict[str, list[Mark]]]]:
    """Per shard with duplicates, in the order of their names: key → marks.

    Args:
        shards: name and records of each shard.
        contents: reads the media.
        threads: threads that read and hash.
        run_bytes: bytes sorted in memory at a time.
    """
    lines = external_sort(_digests(shards, contents, threads), run_bytes)
    marks = external_sort(_marks(lines), run_bytes)
    for shard, group in groupby(map(json.loads, marks), key=lambda mark: mark[0]):
        by_key: dict[str, list[Mark]] = {}
        for _, key, slot, detail in group:
            by_key.setdefault(key, []).append((slot, detail))
        yield shard, by_key


def _digests(
    shards: Iterable[tuple[str, list[Record]]], contents: ContentReader, threads: int
) -> Iterator[bytes]:
    """A line for each medium that can be read: digest, slot, row; sorted, the first stays.

    The slot goes as JSON: one out of a stranger's tar may hold anything.
    """
    read: Callable[[Record], list[tuple[str, str]]] = _Digests(contents)
    for shard, records in shards:
        found = ordered_map(read, with_contents(records), threads=threads)
        for record, digests in zip(records, found, strict=True):
            for slot, digest in digests:
                rest = json.dumps([shard, record.key, slot])
                yield f"{digest} {json.dumps(slot)} {record.row:012d}\t{rest}\n".encode()


class _Digests:
    def __init__(self, contents: ContentReader) -> None:
        self._contents = contents

    def __call__(self, record: Record) -> list[tuple[str, str]]:
        digests = []
        for slot, part in record.media.items():
            if modality_of_slot(slot) in ("image", "audio") and slot not in record.problems:
                try:
                    content = self._contents.read(part)
                except RecordError:
                    continue  # sharding meets it again, and says so
                digests.append((slot, hashlib.sha256(content).hexdigest()))
        return digests


def _marks(lines: Iterable[bytes]) -> Iterator[bytes]:
    for _, group in groupby(
        lines, key=lambda line: line[: line.rindex(b" ", 0, line.index(b"\t"))]
    ):
        same = iter(group)
        first = json.loads(next(same).split(b"\t", 1)[1])
        for line in same:
            shard, key, slot = json.loads(line.split(b"\t", 1)[1])
            detail = f"the same bytes as the {slot} of {first[1]}"
            yield json.dumps([shard, key, slot, detail]).encode() + b"\n"
