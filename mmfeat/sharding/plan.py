"""The plan of a sharding run: which record goes into which shard, before any media is read.

Records are ordered by a hash of their key, so that any block of the store is an unbiased draw, or
left in the order of the input. The order comes from external merge sorts over references and
metadata: memory holds one run of lines, whatever the size of the input.

    OUTPUT/_plan/00000.jsonl    the records of shard 00000
    OUTPUT/_plan/plan.json      written last: a plan without it is made again
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Literal

from mmfeat.errors import MmfeatError
from mmfeat.records.record import Record
from mmfeat.sharding.external_sort import RUN_BYTES, external_sort
from mmfeat.sharding.plan_codec import (
    Line,
    by_row,
    bytes_of,
    dump,
    is_sized,
    line_of,
    load,
    planned,
    reason_of,
    with_unique_keys,
)
from mmfeat.sharding.record_filter import Choice, Count, chosen
from mmfeat.store import files
from mmfeat.store.directory import shard_name

PLAN = "_plan"

Shuffle = Literal["hash", "none"]

_WRITTEN = 1000
"""Lines of a plan written at a time."""


@dataclass(frozen=True)
class Layout:
    """How records become shards.

    Attributes:
        samples: records in a shard at most.
        bytes: bytes of a shard at most, as far as sizes are known; a larger record stands alone.
        shuffle: `hash` for the order of a hash of the key, `none` for that of the input.
        name: printf pattern of the shards' names.
        first: number of the first shard.
    """

    samples: int
    bytes: int | None = None
    shuffle: Shuffle = "hash"
    name: str = "%05d"
    first: int = 0


@dataclass(frozen=True)
class PlannedShard:
    """Records and known bytes of one shard."""

    records: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a finished plan says.

    Attributes:
        shards: shard name → what is in it.
        columns: metadata column → kind, see `mmfeat.records.metadata`.
        lacks: slots that records lack, as `image, text` → how many; empty = they lack none.
        problems: what is known to be wrong before anything is read → how many records.
        unsized: records of which some bytes are not known.
        read: records of the input, wanted or not.
        absent: different keys that were wanted and that no record has.
    """

    shards: dict[str, PlannedShard]
    columns: dict[str, str]
    lacks: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    unsized: int = 0
    read: int = 0
    absent: int = 0

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(shard.records for shard in self.shards.values())

    @property
    def bytes(self) -> int:
        """Known bytes in all shards."""
        return sum(shard.bytes for shard in self.shards.values())


_ALL = Choice()


def make_plan(
    records: Iterable[Record],
    folder: str,
    *,
    config_hash: str,
    layout: Layout,
    slots: Iterable[str] = (),
    choice: Choice = _ALL,
    amend: Callable[[str], None] | None = None,
    run_bytes: int = RUN_BYTES,
) -> Plan:
    """Plan the shards of a store, or read the plan that an earlier run finished.

    Args:
        records: all input records, streamed.
        folder: the store; the plan goes into its `_plan`.
        config_hash: the plan is good for this configuration only.
        layout: how records become shards.
        slots: what every record is expected to have, for the census.
        choice: which records are planned; all when not given.
        amend: called with the folder of the store once all shards are planned.
        run_bytes: bytes of lines sorted in memory at a time.

    Raises:
        MmfeatError: there are no records, or `choice` refuses two that share a key.
    """
    place = files.join(folder, PLAN)
    found = files.read_json(files.join(place, "plan.json"))
    if found and found.pop("config_hash") == config_hash:
        shards = {name: PlannedShard(**facts) for name, facts in found.pop("shards").items()}
        return Plan(shards, **found)
    files.remove(place)
    count = Count()
    kinds: dict[str, str | None] = {}
    expected = tuple(slots)
    lines = chosen(records, choice, lambda r: line_of(r, expected, kinds), count, run_bytes)
    lines = external_sort(lines, run_bytes)
    lines = with_unique_keys(lines, choice.same_key, lambda: count.tildes)
    if layout.shuffle == "none":
        lines = external_sort(map(by_row, lines), run_bytes)
    census = _Census()
    shards = {}
    for index, block in enumerate(_blocks(lines, layout), layout.first):
        name = shard_name(index, layout.name)
        shards[name] = _write_shard(files.join(place, f"{name}.jsonl"), block, census)
    if choice.where:
        choice.where.check()
    if not shards:
        raise MmfeatError(
            "the input holds no records" if not count.read else
            f"none of the {count.read} records of the input is selected",
            cure="Check the path and the flags that select records",
        )  # fmt: skip
    if amend:
        amend(folder)
    plan = Plan(
        shards,
        {name: kind or "string" for name, kind in kinds.items()},
        {json.loads(slots): number for slots, number in sorted(census.lacks.items())},
        dict(sorted(census.problems.items())),
        census.unsized,
        count.read,
        count.absent,
    )
    files.write_json(files.join(place, "plan.json"), {"config_hash": config_hash, **asdict(plan)})
    return plan


def read_plan(folder: str, shard: str) -> list[Record]:
    """The records of one shard, in their order."""
    with files.open_input(files.join(folder, PLAN, f"{shard}.jsonl")) as file:
        return [load(line) for line in file.read().splitlines()]


def planned_shards(folder: str) -> list[str]:
    """Names of the shards that are planned."""
    names = files.list_names(files.join(folder, PLAN))
    return [name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")]


def amend_plan(
    folder: str, shard: str, marks: Mapping[str, Iterable[tuple[str, str]]], reason: str
) -> None:
    """Add problems to records of a planned shard.

    Args:
        folder: the store.
        shard: name of the shard.
        marks: key → slots and details.
        reason: the word for all of them.
    """
    records = read_plan(folder, shard)
    with files.create(files.join(folder, PLAN, f"{shard}.jsonl")) as output:
        for record in records:
            problems = {slot: (reason, detail) for slot, detail in marks.get(record.key, ())}
            record = replace(record, problems={**record.problems, **problems})
            output.write(dump(record))


def remove_plan(folder: str) -> None:
    """Remove the plan once all shards are made; comes before the manifest, the last act of a run.

    Its commit mark goes first, so that a kill in between leaves no plan that looks whole.
    """
    files.remove(files.join(folder, PLAN, "plan.json"))
    files.remove(files.join(folder, PLAN))


def _blocks(lines: Iterable[Line], layout: Layout) -> Iterator[Iterator[Line]]:
    """Lines, one block a shard; each must be used up before the next."""
    lines = iter(lines)
    ahead = next(lines, None)

    def block() -> Iterator[Line]:
        nonlocal ahead
        count, total = 0, 0
        while ahead is not None:
            size = bytes_of(ahead)
            full = layout.bytes is not None and total + size > layout.bytes
            if count == layout.samples or (count and full):
                return
            line, ahead = ahead, next(lines, None)
            count, total = count + 1, total + size
            yield line

    while ahead is not None:
        yield block()


class _Census:
    """What is known of the planned records before any of them is read."""

    def __init__(self) -> None:
        self.lacks: Counter[bytes] = Counter()
        self.problems: Counter[str] = Counter()
        self.unsized = 0


def _write_shard(path: str, block: Iterator[Line], census: _Census) -> PlannedShard:
    count, total = 0, 0
    with files.create(path) as output:
        while lines := list(islice(block, _WRITTEN)):
            written = []
            for line in lines:
                record, lacks, sound = planned(line)
                written.append(record)
                total += bytes_of(line)
                census.lacks[lacks] += 1
                census.unsized += not is_sized(line)
                if not sound:
                    census.problems[reason_of(record)] += 1
            output.write(b"".join(written))
            count += len(lines)
    return PlannedShard(count, total)
