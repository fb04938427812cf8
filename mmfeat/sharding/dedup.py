"""Exact duplicates: media that are byte for byte equal to those of an earlier record.

    plan → digest of all media → sort by digest → duplicates → sort by shard → plan with problems

The first record of the input keeps its media, so the same input always gives the same store. A
retry never takes media away from records that already have them. Media that are unavailable during
the plan are not read later: without their digest, a duplicate would stay unnoticed. Only digests
and names are sorted.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, groupby
from typing import NamedTuple

from mmfeat.errors import RecordError
from mmfeat.media import MediaFetcher, resolve_parquet_media
from mmfeat.records import PASSING_REASON, Record, modality_of_slot
from mmfeat.sharding.shard_plan import Plan, add_problems, read_planned_records
from mmfeat.system import RUN_BYTES, external_sort, ordered_map

Problems = dict[str, dict[str, tuple[str, str]]]
"""Key → slot → reason and detail."""


class KeptMedium(NamedTuple):
    """A medium that a record of a finished store has."""

    row: int
    key: str
    slot: str
    sha256: str


def mark_duplicates(
    plan: Plan, folder: str, fetcher: MediaFetcher, *, threads: int, kept: Iterable[KeptMedium] = ()
) -> Plan:
    """Add the problem `duplicate` to all planned records with duplicate media.

    Args:
        plan: a plan that is not committed yet.
        folder: the store.
        fetcher: fetches the media.
        threads: threads that read and hash.
        kept: the media of the store, if records of it are tried again.

    Returns:
        The plan with the problems.
    """
    shards = ((s.name, read_planned_records(folder, s.name, s.piece)) for s in plan.shards)
    duplicates = find_duplicates(shards, fetcher, threads=threads, kept=kept)
    return add_problems(plan, folder, duplicates)


def find_duplicates(
    shards: Iterable[tuple[str, list[Record]]],
    fetcher: MediaFetcher,
    *,
    threads: int,
    kept: Iterable[KeptMedium] = (),
    run_bytes: int = RUN_BYTES,
) -> Iterator[tuple[str, Problems]]:
    """Yield each shard with duplicates or unavailable media, in the order of names.

    Args:
        shards: name and records of each shard.
        fetcher: fetches the media.
        threads: threads that read and hash.
        kept: media that other records already have.
        run_bytes: bytes sorted in memory at a time.
    """
    lines = chain(map(_kept_line, kept), _digest_lines(shards, fetcher, threads))
    found = external_sort(_problem_lines(external_sort(lines, run_bytes)), run_bytes)
    for shard, group in groupby(map(json.loads, found), key=lambda problem: problem[0]):
        problems: Problems = {}
        for _, key, slot, reason, detail in group:
            problems.setdefault(key, {})[slot] = (reason, detail)
        yield shard, problems


class _Place(NamedTuple):
    """Where a medium is. The shard of a kept medium is empty."""

    shard: str
    key: str
    slot: str
    row: int
    detail: str = ""


def _digest_lines(
    shards: Iterable[tuple[str, list[Record]]], fetcher: MediaFetcher, threads: int
) -> Iterator[bytes]:
    """Yield a line per medium: digest, slot, row, and a tab before its place.

    The slot is JSON: a slot from a foreign tar may contain any character.
    """
    hash_media = partial(_hash_media, fetcher)
    for shard, records in shards:
        resolved = resolve_parquet_media(records)
        results = ordered_map(hash_media, resolved, threads=threads)
        for record, digests in zip(records, results, strict=True):
            for slot, (digest, detail) in digests.items():
                yield _line(digest, _Place(shard, record.key, slot, record.row, detail))


def _kept_line(medium: KeptMedium) -> bytes:
    return _line(medium.sha256, _Place("", medium.key, medium.slot, medium.row))


def _line(digest: str, place: _Place) -> bytes:
    # Kept media come first.
    order = f"{place.row:012d}" if place.shard else f"-{place.row:011d}"
    return f"{digest} {json.dumps(place.slot)} {order}\t{json.dumps(place)}\n".encode()


def _hash_media(fetcher: MediaFetcher, record: Record) -> dict[str, tuple[str, str]]:
    """Return slot → sha256, or else `unavailable`, and a detail, for images and audio."""
    digests = {}
    for slot, ref in record.media.items():
        if modality_of_slot(slot) in ("image", "audio") and slot not in record.problems:
            try:
                digests[slot] = hashlib.sha256(fetcher.fetch(ref)).hexdigest(), ""
            except RecordError as error:
                # Of other failures, sharding reads the media again and records the problem.
                if error.reason == PASSING_REASON:
                    digests[slot] = PASSING_REASON, error.detail
    return digests


def _problem_lines(digest_lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a line per duplicate or unavailable medium: shard, key, slot, reason and detail."""
    for prefix, group in groupby(digest_lines, key=_digest_and_slot):
        holders: list[_Place] = []
        for place in map(_parse_place, group):
            if prefix.startswith(PASSING_REASON.encode()):
                yield _problem_line(place, PASSING_REASON, place.detail)
                continue
            holder = next((holder for holder in holders if holder.row != place.row), None)
            if holder and place.shard:
                detail = f"the same bytes as the {holder.slot} of {holder.key}"
                yield _problem_line(place, "duplicate", detail)
            elif len(holders) < 2:  # the second one is a holder for the record of the first
                holders.append(place)


def _problem_line(place: _Place, reason: str, detail: str) -> bytes:
    return json.dumps([place.shard, place.key, place.slot, reason, detail]).encode() + b"\n"


def _digest_and_slot(line: bytes) -> bytes:
    return line[: line.rindex(b" ", 0, line.index(b"\t"))]


def _parse_place(line: bytes) -> _Place:
    return _Place(*json.loads(line.split(b"\t", 1)[1]))
