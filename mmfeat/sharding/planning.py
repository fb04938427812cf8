"""Plan a sharding run: open the input, then filter, sort and divide its records."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.records import FileRef, MediaRef, Record, is_remote
from mmfeat.sharding.config import ShardConfig
from mmfeat.sharding.dedup import mark_duplicates
from mmfeat.sharding.retry import Retry
from mmfeat.sharding.sample_reader import REMOTE_THREADS, make_fetcher
from mmfeat.sharding.selection import make_filter
from mmfeat.sharding.shard_plan import (
    Plan,
    ShardLayout,
    commit_plan,
    read_plan,
    remove_plan,
    write_plan,
)
from mmfeat.sources import Source, ignored_files_notes, open_source
from mmfeat.storage import files
from mmfeat.system import default_threads, is_http, ordered_map, print_err


def open_input(config: ShardConfig) -> Source:
    """Open the input, show its notes, and check --require.

    Raises:
        MmfeatError: there is no such input, or it lacks a required modality.
    """
    source = open_source(config.input, config.input_options)
    for line in (*source.notes(), *ignored_files_notes(source)):
        print_err(f"shard: {line}")
    missing = [name for name in config.required if name not in source.slots]
    if missing:
        raise MmfeatError(
            f"--require names a modality that {config.input} does not have",
            got=missing[0],
            cure=f"It has: {', '.join(source.slots)}",
        )
    return source


def make_layout(config: ShardConfig, source: Source, first_index: int = 0) -> ShardLayout:
    """Return how records are divided into shards; resolves --shuffle auto."""
    shuffle = config.shuffle
    if shuffle == "auto":
        shuffle = "none" if source.in_order else "hash"
    return ShardLayout(
        config.samples_per_shard, config.max_shard_bytes, shuffle, config.shard_name, first_index
    )


def plan_input(
    config: ShardConfig, source: Source, config_hash: str, retry: Retry | None = None
) -> Plan:
    """Plan all selected records, or return the plan that an earlier run committed.

    Args:
        config: options of the run.
        source: the input.
        config_hash: hash of the configuration.
        retry: plans only the records of a finished store to try again, for its retry shards.
    """
    plan = read_plan(config.output, config_hash)
    if plan is None:
        with_sizes = bool(config.max_shard_bytes)
        try:
            plan = _write_plan(config, source, config.output, retry, with_sizes=with_sizes)
            if config.dedup == "exact":
                threads = config.threads or default_threads()
                kept = retry.kept_media(source.slots) if retry else ()
                fetcher = make_fetcher(config, source.media_folders)
                plan = mark_duplicates(plan, config.output, fetcher, threads=threads, kept=kept)
        except BaseException:
            with suppress(OSError):
                remove_plan(config.output)
            raise
        commit_plan(plan, config.output, config_hash)
    return plan


def dry_run(config: ShardConfig, folder: str) -> dict[str, Any]:
    """Return what a run would write: name → value.

    Args:
        config: options of the run.
        folder: a temporary folder for the plan.
    """
    source = open_input(config)
    plan = _write_plan(config, source, folder, with_sizes=True)
    summary: dict[str, Any] = {"records": plan.records}
    if plan.input_records != plan.records:
        summary["not selected"] = plan.input_records - plan.records
    summary |= summarize_absent_keys(plan.selection)
    summary["shards"] = len(plan.shards)
    summary["bytes"] = plan.bytes
    if plan.unknown_sizes:
        summary["records of unknown size"] = plan.unknown_sizes
    missing_slots = Counter(plan.missing_slots)
    summary[f"records with {', '.join(source.slots)}"] = missing_slots.pop("", 0)
    summary |= {f"records without {slots}": number for slots, number in missing_slots.items()}
    summary |= {f"records with {reason}": number for reason, number in plan.problems.items()}
    return summary | {f"column {name}": kind for name, kind in plan.columns.items()}


def summarize_absent_keys(selection: dict[str, int]) -> dict[str, int]:
    """Return the line of a summary about keys that no record has, if there are any."""
    absent = selection.get("absent", 0)
    return {"keys of --keys not found": absent} if absent else {}


def _write_plan(
    config: ShardConfig,
    source: Source,
    folder: str,
    retry: Retry | None = None,
    *,
    with_sizes: bool,
) -> Plan:
    where_and_keys = (config.where, config.keys, config.keys_column)
    return write_plan(
        _read_records(source, with_sizes=with_sizes),
        folder,
        make_layout(config, source, retry.first_index if retry else 0),
        slots=source.slots,
        record_filter=retry.filter() if retry else make_filter(*where_and_keys),
        refuse_duplicate_keys=config.refuse_duplicate_keys and not retry,
    )


def _read_records(source: Source, *, with_sizes: bool) -> Iterator[Record]:
    """Yield the records of the input, with the sizes of their files if they are needed."""
    records = source.records()
    first = next(records, None) if with_sizes else None
    if first is None:
        return records
    records = chain([first], records)
    if any(map(is_remote, first.media.values())):
        return ordered_map(_look_up_sizes, records, threads=REMOTE_THREADS)
    return map(_look_up_sizes, records)


def _look_up_sizes(record: Record) -> Record:
    return replace(record, media={slot: _look_up_size(ref) for slot, ref in record.media.items()})


def _look_up_size(ref: MediaRef) -> MediaRef:
    if not isinstance(ref, FileRef) or ref.size is not None or is_http(ref.path):
        return ref
    try:
        size = files.size(ref.path) if is_remote(ref) else os.stat(ref.path).st_size
        return FileRef(ref.path, size)
    except Exception:  # libraries of remote storage have errors of their own
        return ref
