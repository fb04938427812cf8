"""The plan of a sharding run out of its configuration: what is read, sized, chosen and marked."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef, MediaRef
from mmfeat.records.record import Record
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.dedup import find_duplicates
from mmfeat.sharding.plan import Plan, amend_plan, make_plan, planned_shards, read_plan
from mmfeat.sharding.record_filter import Choice
from mmfeat.sharding.retry import Retry, failed_rows
from mmfeat.sharding.selection import Condition
from mmfeat.sources import Source, open_source
from mmfeat.store import files
from mmfeat.system import console
from mmfeat.system.threads import default_threads, ordered_map

FAR_THREADS = 16
"""Threads that wait for files of a server, where none are asked for."""


def open_input(config: ShardConfig) -> Source:
    """The input, once it is known to have what is required of it.

    Raises:
        MmfeatError: it has not, or is no input at all.
    """
    source = open_source(config.input, config.input_options)
    for line in source.notes():
        console.print_err(f"shard: {line}")
    missing = [name for name in config.required if name not in source.slots]
    if missing:
        raise MmfeatError(
            f"--require asks for a modality that {config.input} does not have",
            got=missing[0],
            cure=f"It has: {', '.join(source.slots)}",
        )
    return source


def plan_input(
    config: ShardConfig, source: Source, folder: str, config_hash: str, *, dry: bool = False
) -> Plan:
    """Plan the whole input.

    Args:
        config: of the run.
        source: its input.
        folder: holds the plan; no more is written.
        config_hash: the plan is good for this configuration only.
        dry: whether the plan is for a person to read: with all sizes, and no medium is read.
    """
    marked = config.dedup == "exact" and not dry
    return make_plan(
        _records(config, source, sized=dry),
        folder,
        config_hash=config_hash,
        layout=config.layout(in_order=source.in_order),
        slots=source.slots,
        choice=Choice(
            Condition(config.where) if config.where else None,
            ((key, "") for key in config.selection.wanted()) if config.keys else None,
            config.selection.value,
            config.selection.fold,
            _refuse_same_key if config.refuses_duplicates else None,
        ),
        amend=partial(_mark_duplicates, config) if marked else None,
    )


def plan_retry(
    config: ShardConfig, source: Source, retry: Retry, manifest: dict[str, Any], config_hash: str
) -> Plan:
    """Plan further shards for the records of a finished store that failed.

    Args:
        config: of the run.
        source: its input.
        retry: what the store was before.
        manifest: the store's.
        config_hash: what the further shards' receipts say.
    """
    return make_plan(
        _records(config, source),
        config.output,
        config_hash=config_hash,
        layout=replace(config.layout(in_order=source.in_order), first=retry.first_shard),
        slots=source.slots,
        choice=Choice(
            keys=failed_rows(config.output, manifest), key_of=lambda record: str(record.row)
        ),
    )


def dry_run(config: ShardConfig, folder: str) -> dict[str, Any]:
    """What a run would make, for a person to read; the plan goes into `folder`, to be thrown away.

    Raises:
        MmfeatError: as the run itself would.
    """
    source = open_input(config)
    plan = plan_input(config, source, folder, "", dry=True)
    facts: dict[str, Any] = {"records": plan.records}
    if plan.read != plan.records:
        facts["not selected"] = plan.read - plan.records
    facts |= absent_keys(selected(plan))
    facts["shards"] = len(plan.shards)
    facts["bytes"] = plan.bytes
    if plan.unsized:
        facts["records of unknown size"] = plan.unsized
    lacking = Counter(plan.lacks)
    facts[f"records with {', '.join(source.slots)}"] = lacking.pop("", 0)
    facts |= {f"records without {slots}": number for slots, number in lacking.items()}
    facts |= {f"records with {reason}": number for reason, number in plan.problems.items()}
    facts |= {f"column {name}": kind for name, kind in plan.columns.items()}
    return facts


def selected(plan: Plan) -> dict[str, int]:
    """What the manifest says of the choice of records."""
    return {"read": plan.read, "wanted": plan.records, "absent": plan.absent}


def absent_keys(selection: Mapping[str, int]) -> dict[str, int]:
    """Keys that were asked for in vain, for a person to read."""
    absent = selection.get("absent", 0)
    return {"keys of --keys not found": absent} if absent else {}


def is_far(part: MediaRef) -> bool:
    """Whether a part is waited for: it lies with a server."""
    return isinstance(part, FileRef) and "://" in part.path


def _records(config: ShardConfig, source: Source, *, sized: bool = False) -> Iterator[Record]:
    """The records of the input, with the sizes of their files where a shard's size is bounded."""
    records = source.records()
    first = next(records, None)
    if first is None or not (sized or config.max_shard_bytes):
        return chain([first] if first else [], records)
    records = chain([first], records)
    if any(map(is_far, first.media.values())):
        return ordered_map(_with_sizes, records, threads=FAR_THREADS)
    return map(_with_sizes, records)


def _with_sizes(record: Record) -> Record:
    return replace(record, parts={slot: _with_size(part) for slot, part in record.media.items()})


def _with_size(part: MediaRef) -> MediaRef:
    if not isinstance(part, FileRef) or part.size is not None or part.path.startswith("http"):
        return part
    try:
        size = files.size(part.path) if is_far(part) else os.stat(part.path).st_size
        return FileRef(part.path, size)
    except (OSError, ValueError, ImportError, MmfeatError):
        return part


def _mark_duplicates(config: ShardConfig, folder: str) -> None:
    threads = config.threads or default_threads()
    shards = ((name, read_plan(folder, name)) for name in planned_shards(folder))
    for shard, marks in find_duplicates(shards, config.contents(), threads=threads):
        amend_plan(folder, shard, marks, "duplicate")


def _refuse_same_key(first: Record, second: Record) -> None:
    raise MmfeatError(
        f"keys must be unique: rows {first.row} and {second.row} of the input (counted from 0) "
        "share one",
        got=first.key,
        cure="Name another --key-column, or tell them apart with --duplicate-keys suffix",
    )
