"""The plan of a sharding run: which record goes into which shard, before any media are read.

OUTPUT/_plan/00000.jsonl    the records of shard 00000
OUTPUT/_plan/plan.json      written last: without it the plan is made again
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.records import Record
from mmfeat.sharding.plan_codec import dump_record, load_record
from mmfeat.storage import Count, Name, check_value, files, read_intact_document
from mmfeat.store import PLAN_FILE, PLAN_FOLDER


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
    path = records_path(folder, shard)
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
    with files.create(records_path(folder, shard)) as output:
        for record in records:
            added = problems.get(record.key, {})
            output.write(dump_record(replace(record, problems={**record.problems, **added})))


def remove_plan(folder: str) -> None:
    """Remove the plan. Its commit mark goes first, so that no incomplete plan looks valid."""
    files.remove(files.join(folder, PLAN_FOLDER, PLAN_FILE))
    files.remove(files.join(folder, PLAN_FOLDER))


def records_path(folder: str, shard: str) -> str:
    """Return the file with the records of a planned shard."""
    return files.join(folder, PLAN_FOLDER, f"{shard}.jsonl")
