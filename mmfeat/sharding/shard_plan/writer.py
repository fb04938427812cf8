"""Write the plan of a sharding run: filter the records, sort them, and divide them into shards.

By default records are sorted by a hash of their key, so every shard is a random sample. External
sorts keep memory constant, whatever the size of the input.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from mmfeat.errors import MmfeatError
from mmfeat.records import Record
from mmfeat.sharding.plan_codec import (
    Line,
    LineEncoder,
    all_sizes_known,
    by_row,
    known_bytes,
    known_problems,
    make_keys_unique,
    to_plan_line,
)
from mmfeat.sharding.selection import InputCounts, RecordFilter, match_condition, match_keys
from mmfeat.sharding.shard_plan.plan import Plan
from mmfeat.storage import files
from mmfeat.store import (
    PLAN_FOLDER,
    BlockWriter,
    PlannedShard,
    collect_shards,
    shard_name,
)
from mmfeat.system import RUN_BYTES, external_sort

_WRITTEN_LINES = 1000
"""Lines written at a time."""

_KEEP_ALL = RecordFilter()


@dataclass(frozen=True)
class ShardLayout:
    """How records are divided into shards.

    Attributes:
        max_records: maximum number of records in a shard.
        max_bytes: maximum known bytes of a shard; a larger record gets its own shard.
        shuffle: `hash` sorts by a hash of the key, `none` keeps the order of the input.
        name_pattern: printf pattern of the shard names.
        first_index: number of the first shard.
    """

    max_records: int
    max_bytes: int | None = None
    shuffle: Literal["hash", "none"] = "hash"
    name_pattern: str = "%05d"
    first_index: int = 0


def write_plan(
    records: Iterable[Record],
    folder: str,
    layout: ShardLayout,
    *,
    slots: Iterable[str] = (),
    record_filter: RecordFilter = _KEEP_ALL,
    refuse_duplicate_keys: bool = False,
    run_bytes: int = RUN_BYTES,
) -> Plan:
    """Filter the records, sort them, divide them into shards, and write the records of each.

    The plan is valid after `commit_plan`.

    Args:
        records: all input records.
        folder: the store; the plan is written to its `_plan`.
        layout: how records are divided into shards.
        slots: slots that every record is expected to have.
        record_filter: which records are planned.
        refuse_duplicate_keys: whether records that share a key are an error; else each gets a
            suffix.
        run_bytes: bytes sorted in memory at a time.

    Raises:
        MmfeatError: there are no records, or two share a key.
    """
    files.remove(files.join(folder, PLAN_FOLDER))
    counts = InputCounts()
    encoder = LineEncoder(slots)
    records = match_condition(records, record_filter.condition, counts)
    encoded = ((record, encoder.encode(record)) for record in records)
    lines = match_keys(encoded, record_filter, counts, run_bytes)
    lines = external_sort(lines, run_bytes)
    lines = make_keys_unique(
        lines, lambda: counts.suffix_tildes, refuse_duplicates=refuse_duplicate_keys
    )
    if layout.shuffle == "none":
        lines = external_sort(map(by_row, lines), run_bytes)
    statistics = _PlanStatistics()
    with BlockWriter(folder) as writer:
        shards = collect_shards(
            _write_shard(shard_name(index, layout.name_pattern), shard_lines, statistics, writer)
            for index, shard_lines in enumerate(_divide(lines, layout), layout.first_index)
        )
    condition = record_filter.condition
    if condition:
        condition.check_names()
    if not shards:
        raise MmfeatError(
            f"none of the {counts.records} records of the input is selected"
            if counts.records
            else "the input holds no records",
            cure=(condition.describe_texts() if condition else "")
            or "Check the path and the flags that select records",
        )
    return Plan(
        shards,
        columns={name: kind or "string" for name, kind in encoder.kinds.items()},
        missing_slots={
            json.loads(missing): number
            for missing, number in sorted(statistics.missing_slots.items())
        },
        problems=dict(sorted(statistics.problems.items())),
        unknown_sizes=statistics.unknown_sizes,
        input_records=counts.records,
        absent_keys=counts.absent_keys,
    )


def _divide(lines: Iterable[Line], layout: ShardLayout) -> Iterator[Iterator[Line]]:
    """Yield the lines of one shard after the other. Exhaust each before the next."""
    lines = iter(lines)
    pending = next(lines, None)

    def shard_lines() -> Iterator[Line]:
        nonlocal pending
        count, total = 0, 0
        while pending is not None:
            size = known_bytes(pending)
            exceeds = layout.max_bytes is not None and total + size > layout.max_bytes
            if count == layout.max_records or (count and exceeds):
                return
            line, pending = pending, next(lines, None)
            count, total = count + 1, total + size
            yield line

    while pending is not None:
        yield shard_lines()


class _PlanStatistics:
    """What is known about the planned records before any media are read."""

    def __init__(self) -> None:
        self.missing_slots: Counter[bytes] = Counter()
        self.problems: Counter[str] = Counter()
        self.unknown_sizes = 0

    def add(self, line: Line) -> bytes:
        """Count a record, and return its line of the plan."""
        plan_line, missing, has_problems = to_plan_line(line)
        self.missing_slots[missing] += 1
        self.unknown_sizes += not all_sizes_known(line)
        if has_problems and (reason := known_problems(plan_line)):
            self.problems[reason] += 1
        return plan_line


def _write_shard(
    name: str, lines: Iterator[Line], statistics: _PlanStatistics, writer: BlockWriter
) -> PlannedShard:
    """Write the records of a shard, many lines at a time."""
    count, total = 0, 0

    def parts() -> Iterator[bytes]:
        nonlocal count, total
        while group := list(islice(lines, _WRITTEN_LINES)):
            total += sum(map(known_bytes, group))
            count += len(group)
            yield b"".join(map(statistics.add, group))

    piece = writer.write(parts())
    return PlannedShard(name, count, total, piece)
