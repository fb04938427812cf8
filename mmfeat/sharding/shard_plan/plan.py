"""The plan of a sharding run: which record goes into which shard, before any media are read.

OUTPUT/_plan/block-00000.jsonl    the records of many shards
OUTPUT/_plan/shards.parquet       one row per shard: its records, and where they are
OUTPUT/_plan/plan.json            written last: without it the plan is made again

Earlier versions wrote `_plan/00000.jsonl`, a file per shard, and listed the shards in plan.json.
Such a plan is read, so that an unfinished run can go on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.records import Record
from mmfeat.sharding.plan_codec import dump_record, load_record
from mmfeat.storage import Count, Name, check_value, files, read_intact_document
from mmfeat.store import (
    PLAN_FILE,
    PLAN_FOLDER,
    BlockWriter,
    PackedPlan,
    Piece,
    PlannedShard,
    PlannedShards,
    collect_shards,
    damaged_plan,
    is_packed_plan,
    read_piece,
    read_plan_index,
    write_plan_index,
)

Problems = Mapping[str, Mapping[str, tuple[str, str]]]
"""Key → slot → reason and detail."""


@dataclass(frozen=True)
class Plan:
    """The shards of a plan and statistics of its records.

    Attributes:
        shards: the shards, in order.
        columns: metadata column → kind, see `mmfeat.records.metadata`.
        missing_slots: slots that records lack, as `image, text` → records; empty = none lacking.
        problems: problems known before reading → records.
        unknown_sizes: records with media of unknown size.
        input_records: records of the input, selected or not.
        absent_keys: distinct keys of --keys that no record has.
    """

    shards: PlannedShards
    columns: dict[str, str]
    missing_slots: dict[str, Count] = field(default_factory=dict)
    problems: dict[str, Count] = field(default_factory=dict)
    unknown_sizes: Count = 0
    input_records: Count = 0
    absent_keys: Count = 0

    @property
    def records(self) -> int:
        """Records in all shards."""
        return self.shards.records

    @property
    def bytes(self) -> int:
        """Known bytes in all shards."""
        return self.shards.bytes

    @property
    def selection(self) -> dict[str, int]:
        """What the manifest says about the selection of records."""
        return {
            "read": self.input_records,
            "wanted": self.records,
            "absent": self.absent_keys,
        }


_FACTS = {
    "columns": "columns",
    "missing_slots": "lacks",
    "problems": "problems",
    "unknown_sizes": "unsized",
    "input_records": "read",
    "absent_keys": "absent",
}
"""Field of `Plan` → its name in plan.json."""


@dataclass(frozen=True)
class _ListedShard:
    """A shard in the plan.json of an earlier version."""

    records: Count
    bytes: Count


def commit_plan(plan: Plan, folder: str, config_hash: str) -> None:
    """Make a written plan valid for one configuration."""
    packed: PackedPlan = {
        "index": write_plan_index(folder, plan.shards),
        "shards": len(plan.shards),
    }
    facts = {json_name: getattr(plan, name) for name, json_name in _FACTS.items()}
    path = files.join(folder, PLAN_FOLDER, PLAN_FILE)
    files.write_json(path, {"config_hash": config_hash, **packed, **facts})


def read_plan(folder: str, config_hash: str) -> Plan | None:
    """Return the plan that an earlier run committed for this configuration, if any.

    If its commit mark or its index is damaged there is none: it is made again.
    """
    path = files.join(folder, PLAN_FOLDER, PLAN_FILE)
    values = read_intact_document(path, dict[str, Any])
    if not values or values.get("config_hash") != config_hash:
        return None
    facts = {name: values[json_name] for name, json_name in _FACTS.items() if json_name in values}
    try:
        return check_value({"shards": _read_shards(folder, values, path), **facts}, Plan, path)
    except DamagedFileError:
        return None


def _read_shards(folder: str, values: dict[str, Any], path: str) -> PlannedShards:
    if is_packed_plan(values):
        packed = check_value(values, PackedPlan, path)
        return read_plan_index(folder, packed["index"], packed["shards"])
    listed = check_value(values.get("shards"), dict[Name, _ListedShard], path)
    sizes = {name: check_value(size, _ListedShard, path) for name, size in listed.items()}
    return collect_shards(PlannedShard(n, s.records, s.bytes) for n, s in sizes.items())


def read_planned_records(folder: str, shard: str, piece: Piece | None) -> list[Record]:
    """Return the records of one shard, in order.

    Args:
        folder: the store.
        shard: name of the shard.
        piece: where its records are; None in a plan with one file per shard.

    Raises:
        DamagedFileError: they are not as they were planned.
    """
    path = files.join(folder, PLAN_FOLDER, f"{shard}.jsonl")
    try:
        if piece:
            data = read_piece(folder, piece)
        else:
            with files.open_input(path) as file:
                data = file.read()
        return [load_record(line) for line in data.splitlines()]
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise damaged_plan(folder, f"shard {shard} must have records in the plan", got) from error


def add_problems(plan: Plan, folder: str, problems: Iterable[tuple[str, Problems]]) -> Plan:
    """Add problems to the records of planned shards, whose pieces are written to new blocks.

    Args:
        plan: a plan that is not committed yet.
        folder: the store.
        problems: names of shards, and the problems of their records.

    Returns:
        The plan with the new pieces.
    """
    rows = {shard.name: row for row, shard in enumerate(plan.shards)}
    pieces: dict[int, Piece] = {}
    with BlockWriter(folder, plan.shards.next_block) as writer:
        for name, added in problems:
            records = read_planned_records(folder, name, plan.shards[rows[name]].piece)
            pieces[rows[name]] = writer.write(
                dump_record(replace(r, problems={**r.problems, **added.get(r.key, {})}))
                for r in records
            )
    return replace(plan, shards=plan.shards.replace_pieces(pieces))


def remove_plan(folder: str) -> None:
    """Remove the plan. Its commit mark goes first, so that no incomplete plan looks valid."""
    files.remove(files.join(folder, PLAN_FOLDER, PLAN_FILE))
    files.remove(files.join(folder, PLAN_FOLDER))
