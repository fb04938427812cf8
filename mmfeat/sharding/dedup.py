"""Exact duplicates: media that are byte for byte equal to those of an earlier record.

    plan → digest of all media → sort by digest → duplicates → sort by shard → plan with problems

The first record of the input keeps its media, so the same input always gives the same store. Only
digests and names are sorted.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby

from mmfeat.errors import RecordError
from mmfeat.media import MediaFetcher, resolve_parquet_media
from mmfeat.records import Record, modality_of_slot
from mmfeat.sharding.shard_plan import add_problems, planned_shards, read_planned_records
from mmfeat.system import RUN_BYTES, external_sort, ordered_map

Problems = dict[str, dict[str, tuple[str, str]]]
"""Key → slot → reason and detail."""


def mark_duplicates(folder: str, fetcher: MediaFetcher, *, threads: int) -> None:
    """Add the problem `duplicate` to all planned records with duplicate media."""
    shards = ((name, read_planned_records(folder, name)) for name in planned_shards(folder))
    for shard, problems in find_duplicates(shards, fetcher, threads=threads):
        add_problems(folder, shard, problems)


def find_duplicates(
    shards: Iterable[tuple[str, list[Record]]],
    fetcher: MediaFetcher,
    *,
    threads: int,
    run_bytes: int = RUN_BYTES,
) -> Iterator[tuple[str, Problems]]:
    """Yield each shard with duplicates and their problems, in the order of names.

    Args:
        shards: name and records of each shard.
        fetcher: fetches the media.
        threads: threads that read and hash.
        run_bytes: bytes sorted in memory at a time.
    """
    digests = external_sort(_digest_lines(shards, fetcher, threads), run_bytes)
    duplicates = external_sort(_duplicate_lines(digests), run_bytes)
    for shard, group in groupby(map(json.loads, duplicates), key=lambda duplicate: duplicate[0]):
        problems: Problems = {}
        for _, key, slot, detail in group:
            problems.setdefault(key, {})[slot] = ("duplicate", detail)
        yield shard, problems


def _digest_lines(
    shards: Iterable[tuple[str, list[Record]]], fetcher: MediaFetcher, threads: int
) -> Iterator[bytes]:
    """Yield a line per medium: digest, slot, row, and a tab before shard, key and slot.

    The slot is JSON: a slot from a foreign tar may contain any character.
    """
    hash_media = partial(_hash_media, fetcher)
    for shard, records in shards:
        resolved = resolve_parquet_media(records)
        results = ordered_map(hash_media, resolved, threads=threads)
        for record, digests in zip(records, results, strict=True):
            for slot, digest in digests.items():
                place = json.dumps([shard, record.key, slot])
                yield f"{digest} {json.dumps(slot)} {record.row:012d}\t{place}\n".encode()


def _hash_media(fetcher: MediaFetcher, record: Record) -> dict[str, str]:
    """Return slot → sha256 for the images and audio of a record."""
    digests = {}
    for slot, ref in record.media.items():
        if modality_of_slot(slot) in ("image", "audio") and slot not in record.problems:
            try:
                digests[slot] = hashlib.sha256(fetcher.fetch(ref)).hexdigest()
            except RecordError:
                continue  # sharding reads it again and records the problem
    return digests


def _duplicate_lines(digests: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a line per duplicate: shard, key, slot and detail."""
    for _, group in groupby(digests, key=_digest_and_slot):
        places = map(_parse_place, group)
        _, first_key, first_slot = next(places)
        for shard, key, slot in places:
            detail = f"the same bytes as the {first_slot} of {first_key}"
            yield json.dumps([shard, key, slot, detail]).encode() + b"\n"


def _digest_and_slot(line: bytes) -> bytes:
    return line[: line.rindex(b" ", 0, line.index(b"\t"))]


def _parse_place(line: bytes) -> list[str]:
    place: list[str] = json.loads(line.split(b"\t", 1)[1])
    return place
