"""The plan of a sharding run: which record goes into which shard, before any media is read.

Records are ordered by a hash of their key, so that any block of the store is an unbiased draw.
The order comes from an external merge sort over references and metadata: memory holds one run of
records, whatever the size of the input.

    OUTPUT/_plan/00000.jsonl    the records of shard 00000
    OUTPUT/_plan/plan.json      written last: a plan without it is made again
"""

import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby, pairwise
from typing import IO

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.keys import order_of, unique_key
from mmfeat.metadata import common_kind, kind_of
from mmfeat.sample import Part, Record
from mmfeat.store import shard_name

PLAN = "_plan"
RUN = 100_000
"""Records sorted in memory at a time."""

_BLOCK_BYTES = 1 << 16

_Entry = tuple[str, str, int, str]
"""Order, key, row, record as JSON; tuples compare in that order."""


@dataclass(frozen=True)
class Plan:
    """What a finished plan says.

    Attributes:
        shards: shard name → records in it.
        columns: metadata column → kind, see `mmfeat.metadata`.
    """

    shards: dict[str, int]
    columns: dict[str, str]

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(self.shards.values())


def make_plan(
    records: Iterable[Record],
    folder: str,
    *,
    config_hash: str,
    samples_per_shard: int,
    same_key: Callable[[Record, Record], None] | None = None,
    run: int = RUN,
) -> Plan:
    """Plan the shards of a store, or read the plan that an earlier run finished.

    Args:
        records: all input records, streamed.
        folder: the store; the plan goes into its `_plan`.
        config_hash: the plan is good for this configuration only.
        samples_per_shard: records in a shard; the last one may have fewer.
        same_key: called with two records that share a key, to refuse; else both are told apart
            by a `~` and their row numbers.
        run: records sorted in memory at a time.

    Raises:
        MmfeatError: there are no records, or `same_key` refuses.
    """
    place = storage.join(folder, PLAN)
    found = storage.read_json(storage.join(place, "plan.json"))
    if found and found["config_hash"] == config_hash:
        return Plan(found["shards"], found["columns"])
    storage.remove(place)
    kinds: dict[str, str | None] = {}
    shards: dict[str, int] = {}
    with tempfile.TemporaryFile("w+b", prefix="mmfeat-plan-") as spill:
        ordered = _external_sort(_entries(records, kinds), spill, run)
        unique = _with_unique_keys(ordered, same_key)
        for index, block in enumerate(_blocks(unique, samples_per_shard)):
            name = shard_name(index)
            with storage.create(storage.join(place, f"{name}.jsonl")) as output:
                count = 0
                for record in block:
                    output.write(_dump(record).encode() + b"\n")
                    count += 1
            shards[name] = count
    if not shards:
        raise MmfeatError("the input holds no records", cure="Check the path and the table")
    plan = Plan(shards, {name: kind or "string" for name, kind in kinds.items()})
    storage.write_json(
        storage.join(place, "plan.json"),
        {"config_hash": config_hash, "shards": plan.shards, "columns": plan.columns},
    )
    return plan


def read_plan(folder: str, shard: str) -> list[Record]:
    """The records of one shard, in their order."""
    with storage.open_input(storage.join(folder, PLAN, f"{shard}.jsonl")) as file:
        return [_load(line) for line in file.read().splitlines()]


def remove_plan(folder: str) -> None:
    """Remove the plan once all shards are made; comes before the manifest, the last act of a run.

    Its commit mark goes first, so that a kill in between leaves no plan that looks whole.
    """
    storage.remove(storage.join(folder, PLAN, "plan.json"))
    storage.remove(storage.join(folder, PLAN))


def _entries(records: Iterable[Record], kinds: dict[str, str | None]) -> Iterator[_Entry]:
    for record in records:
        for name, value in record.metadata.items():
            kinds[name] = common_kind(kinds.get(name), kind_of(value))
        yield order_of(record.key), record.key, record.row, _dump(record)


def _external_sort(entries: Iterable[_Entry], spill: IO[bytes], run: int) -> Iterator[_Entry]:
    """Sort entries: runs in memory, all but a lone first one spilled to disk, then one merge."""
    entries = iter(entries)
    starts: list[int] = []
    while block := sorted(_take(entries, run)):
        if not starts and len(block) < run:
            return iter(block)
        spill.seek(0, 2)
        starts.append(spill.tell())
        spill.writelines(json.dumps(entry).encode() + b"\n" for entry in block)
    spill.seek(0, 2)
    bounds = pairwise([*starts, spill.tell()])
    return heapq.merge(*(_read_run(spill, start, end) for start, end in bounds))


def _read_run(spill: IO[bytes], position: int, end: int) -> Iterator[_Entry]:
    while position < end:
        spill.seek(position)
        # readlines stops at the first line that takes it beyond the hint, so one byte less
        # makes it stop at the run's end.
        lines = spill.readlines(min(_BLOCK_BYTES, end - position - 1))
        position = spill.tell()
        yield from (tuple(json.loads(line)) for line in lines)


def _take(entries: Iterator[_Entry], number: int) -> Iterator[_Entry]:
    return (entry for _, entry in zip(range(number), entries, strict=False))


def _with_unique_keys(
    entries: Iterable[_Entry], same_key: Callable[[Record, Record], None] | None
) -> Iterator[Record]:
    for (_, key), group in groupby(entries, key=lambda entry: entry[:2]):
        records = (_load(entry[3]) for entry in group)
        first = next(records)
        second = next(records, None)
        if second and key and same_key:
            same_key(first, second)
        if key and second is None:
            yield first
            continue
        for record in chain([first], [second] if second else [], records):
            yield replace(record, key=unique_key(key, record.row))


def _blocks(records: Iterable[Record], size: int) -> Iterator[Iterator[Record]]:
    records = iter(records)
    for first in records:
        rest = (record for _, record in zip(range(size - 1), records, strict=False))
        yield chain([first], rest)


def _dump(record: Record) -> str:
    """A record as one line of ASCII JSON; a name that is not UTF-8 survives as it is."""
    parts = {name: [part.value, part.path] for name, part in record.parts.items()}
    return json.dumps([record.row, record.key, parts, record.metadata, record.problems])


def _load(line: str | bytes) -> Record:
    row, key, parts, metadata, problems = json.loads(line)
    return Record(
        row,
        key,
        {name: Part(*fields) for name, fields in parts.items()},
        metadata,
        {name: (reason, detail) for name, (reason, detail) in problems.items()},
    )
