"""The plan of a sharding run: which record goes into which shard, before any media are read.

By default records are sorted by a hash of their key, so every shard is a random sample. External
sorts keep memory constant, whatever the size of the input.

    OUTPUT/_plan/00000.jsonl    the records of shard 00000
    OUTPUT/_plan/plan.json      written last: without it the plan is made again
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.records import Record
from mmfeat.sharding.plan_codec import (
    Line,
    LineEncoder,
    all_sizes_known,
    by_row,
    dump_record,
    known_bytes,
    known_problems,
    load_record,
    make_keys_unique,
    to_plan_line,
)
from mmfeat.sharding.record_filter import InputCounts, RecordFilter, match_condition, match_keys
from mmfeat.storage import Count, Name, check_value, files, read_intact_document
from mmfeat.store import PLAN_FILE, PLAN_FOLDER, shard_name
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


@dataclass(frozen=True)
class PlannedShard:
    """Records and known bytes of one shard."""

    records: Count
    bytes: Count


@dataclass(frozen=True)
class Plan:
    """The shards of a plan and statistics of its records.

    Attributes:
        shards: shard name → its size.
        columns: metadata column → kind, see `mmfeat.records.metadata`.
        missing_slots: slots that records lack, as `image, text` → records; empty = none lacking.
        problems: problems known before reading → records.
        unknown_sizes: records with media of unknown size.
        input_records: records of the input, selected or not.
        absent_keys: distinct keys of --keys that no record has.
    """

    shards: dict[Name, PlannedShard]
    columns: dict[str, str]
    missing_slots: dict[str, Count] = field(default_factory=dict)
    problems: dict[str, Count] = field(default_factory=dict)
    unknown_sizes: Count = 0
    input_records: Count = 0
    absent_keys: Count = 0

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(shard.records for shard in self.shards.values())

    @property
    def bytes(self) -> int:
        """Known bytes in all shards."""
        return sum(shard.bytes for shard in self.shards.values())

    @property
    def selection(self) -> dict[str, int]:
        """What the manifest says about the selection of records."""
        return {
            "read": self.input_records,
            "wanted": self.records,
            "absent": self.absent_keys,
        }


_JSON_NAMES = {
    "missing_slots": "lacks",
    "unknown_sizes": "unsized",
    "input_records": "read",
    "absent_keys": "absent",
}
"""Fields of `Plan` with another name in plan.json."""


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
    shards = {}
    for index, block in enumerate(_divide(lines, layout), layout.first_index):
        name = shard_name(index, layout.name_pattern)
        shards[name] = _write_shard(_records_path(folder, name), block, statistics)
    if record_filter.condition:
        record_filter.condition.check_names()
    if not shards:
        raise MmfeatError(
            f"none of the {counts.records} records of the input is selected"
            if counts.records
            else "the input holds no records",
            cure="Check the path and the flags that select records",
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


def commit_plan(plan: Plan, folder: str, config_hash: str) -> None:
    """Make a written plan valid for one configuration."""
    values = {_JSON_NAMES.get(name, name): value for name, value in asdict(plan).items()}
    path = files.join(folder, PLAN_FOLDER, PLAN_FILE)
    files.write_json(path, {"config_hash": config_hash, **values})


def read_plan(folder: str, config_hash: str) -> Plan | None:
    """Return the plan that an earlier run committed for this configuration, if any."""
    path = files.join(folder, PLAN_FOLDER, PLAN_FILE)
    values = read_intact_document(path, dict[str, Any])
    if not values or values.get("config_hash") != config_hash:
        return None
    field_names = {json_name: name for name, json_name in _JSON_NAMES.items()}
    fields = {field_names.get(name, name): value for name, value in values.items()}
    try:
        return check_value(fields, Plan, path)
    except DamagedFileError:
        return None


def read_planned_records(folder: str, shard: str) -> list[Record]:
    """Return the records of one shard, in order."""
    path = _records_path(folder, shard)
    try:
        with files.open_input(path) as file:
            return [load_record(line) for line in file.read().splitlines()]
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"{path} must hold records of the plan",
            got=f"{type(error).__name__}: {error}",
            cure=f"Remove {files.join(folder, PLAN_FOLDER)} and run the same command again",
        ) from error


def planned_shards(folder: str) -> list[str]:
    """Return the names of the planned shards."""
    names = files.list_names(files.join(folder, PLAN_FOLDER))
    return [name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")]


def add_problems(
    folder: str, shard: str, problems: Mapping[str, Mapping[str, tuple[str, str]]]
) -> None:
    """Add problems to the records of a planned shard.

    Args:
        folder: the store.
        shard: name of the shard.
        problems: key → slot → reason and detail.
    """
    records = read_planned_records(folder, shard)
    with files.create(_records_path(folder, shard)) as output:
        for record in records:
            added = problems.get(record.key, {})
            output.write(dump_record(replace(record, problems={**record.problems, **added})))


def remove_plan(folder: str) -> None:
    """Remove the plan. Its commit mark goes first, so that no incomplete plan looks valid."""
    files.remove(files.join(folder, PLAN_FOLDER, PLAN_FILE))
    files.remove(files.join(folder, PLAN_FOLDER))


def _records_path(folder: str, shard: str) -> str:
    return files.join(folder, PLAN_FOLDER, f"{shard}.jsonl")


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


def _write_shard(path: str, lines: Iterator[Line], statistics: _PlanStatistics) -> PlannedShard:
    count, total = 0, 0
    with files.create(path) as output:
        while block := list(islice(lines, _WRITTEN_LINES)):
            plan_lines = []
            for line in block:
                plan_line, missing, has_problems = to_plan_line(line)
                plan_lines.append(plan_line)
                total += known_bytes(line)
                statistics.missing_slots[missing] += 1
                statistics.unknown_sizes += not all_sizes_known(line)
                if has_problems and (reason := known_problems(plan_line)):
                    statistics.problems[reason] += 1
            output.write(b"".join(plan_lines))
            count += len(block)
    return PlannedShard(count, total)
