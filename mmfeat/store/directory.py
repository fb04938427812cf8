"""The output directory of a stage, called a store.

Every stage writes a directory of the same form:

    DIR/config.json          written once the plan stands: the configuration of the run and its hash
    DIR/…                    the data of shard 00000
    DIR/00000_stats.json     the receipt of the shard, written after its data
    DIR/00000_failed.json    instead of a receipt: why the last attempt failed
    DIR/manifest.json        written last: totals and the list of shards

One run at a time works in a directory, and all runs use the configuration and the format in its
config.json.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.storage import files
from mmfeat.storage.conditional import ObjectChangedError, conditional_store, expect_version
from mmfeat.storage.documents import check_value, read_document, read_intact_document
from mmfeat.store.differences import describe_differences
from mmfeat.store.schemas import RunConfig

STORE_FORMATS = {"features": 2, "predictions": 2}
"""Kind of store → its newest format; other kinds have format 1.

Since format 2, rows lie in folders that hold nothing else, so that other tools open them. Before,
receipts lay beside the rows. All formats up to the newest are read, and a store keeps the format of
its first run.
"""

CONFIG_FILE = "config.json"

PLAN_FOLDER = "_plan"
"""Folder of a plan. It is written before the run claims the directory."""

PLAN_FILE = "plan.json"

PLAN_INDEX = "shards.parquet"


def shard_name(index: int, pattern: str = "%05d") -> str:
    """Return the name of a shard: `00000`, `00001`, …"""
    return pattern % index


def json_digest(value: Any) -> str:
    """Return the sha256 of a JSON-ready value. The order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def newest_format(kind: str) -> int:
    """Return the newest format of a kind of store."""
    return STORE_FORMATS.get(kind, 1)


def read_format(folder: str, kind: str) -> int:
    """Return the format of a store's first run; the newest if the store does not exist."""
    run = read_document(files.join(folder, CONFIG_FILE), RunConfig)
    return run["format"] if run else newest_format(kind)


def check_format(folder: str, store: Mapping[str, Any]) -> None:
    """Check that this version of mmfeat knows the format of a store.

    Args:
        folder: the store.
        store: its manifest or the content of its config.json.

    Raises:
        MmfeatError: a newer version of mmfeat has made the store.
    """
    kind, newest = store.get("kind"), newest_format(str(store.get("kind")))
    if store.get("format") not in range(1, newest + 1):
        raise MmfeatError(
            f"{folder} must have a format of {kind} that this mmfeat knows, at most {newest}",
            got=store.get("format"),
            cure="Upgrade mmfeat",
        )


def check_output(folder: str, kind: str) -> dict[str, Any] | None:
    """Check that a directory is new, empty or a store of the kind, and return its config.json.

    It is cheap and writes nothing. Commands call it before they read their input.

    Raises:
        MmfeatError: the directory contains other files or a store of another kind or of a newer
            format, or it is a file, or its config.json is damaged.
    """
    path = files.join(folder, CONFIG_FILE)
    try:
        run = files.read_json(path)
    except DamagedFileError:
        if _foreign_names(folder, with_config=False):
            raise
        return None  # nothing else is there: it is written again
    if not isinstance(run, dict) or "kind" not in run:
        if other_files := _foreign_names(folder, with_config=run is not None):
            raise MmfeatError(
                f"the output directory must be empty or a store of mmfeat: {folder}",
                got=other_files[0],
                cure="Name another directory",
            )
        return None
    if run["kind"] != kind:
        raise MmfeatError(
            f"{folder} was made with another configuration: kind was {run['kind']}, is {kind} now",
            cure="Name another output directory",
        )
    check_format(folder, run)
    check_value(run, RunConfig, path)
    return run


def _foreign_names(folder: str, *, with_config: bool) -> list[str]:
    """Return the names in a folder without config.json that a run has not left there."""
    if files.size(folder) is not None:
        return [f"the file {folder}"]
    known = () if with_config else (CONFIG_FILE,)  # an unreadable one is written again
    names = [n for n in files.list_names(folder) if not n.startswith(".") and n not in known]
    if names == [PLAN_FOLDER]:  # of a run that was killed while it planned
        plan = files.list_names(files.join(folder, PLAN_FOLDER))
        names = [n for n in plan if not n.startswith(".") and not n.endswith(".jsonl")]
        names = [name for name in names if name not in (PLAN_FILE, PLAN_INDEX)]
    return names


def match_run(
    folder: str, kind: str, config: Mapping[str, Any], details: Mapping[str, Any] | None = None
) -> str:
    """Check that a directory is new or of the same configuration, and return its hash.

    It writes nothing. Arguments as in `open_run`.

    Raises:
        MmfeatError: as in `check_output`, or the directory has a run with another configuration.
    """
    old, new_hash = check_output(folder, kind), json_digest(config)
    if old and old.get("hash") != new_hash:
        before, after = old.get("config", {}), {**config}
        if details and "details" in old:
            before, after = {"": old["details"], **before}, {"": details, **after}
        raise MmfeatError(
            f"{folder} was made with another configuration "
            f"(hash {str(old.get('hash'))[:12]}, now {new_hash[:12]}): "
            f"{describe_differences(before, after)}",
            cure="Run it with the same settings, or name another output directory",
        )
    return new_hash


def open_run(
    folder: str, kind: str, config: Mapping[str, Any], details: Mapping[str, Any] | None = None
) -> str:
    """Claim a directory for a run, or continue an earlier run with the same configuration.

    Call it when nothing is left that the user may have to correct: from then on the directory
    belongs to the configuration.

    Args:
        folder: the directory; it is created if it does not exist.
        kind: what the store contains, such as `shards`.
        config: every setting that determines the content of the store.
        details: what digests in the configuration stand for; it is only shown to people.

    Returns:
        The hash of the configuration.

    Raises:
        MmfeatError: as in `match_run`.
    """
    path = files.join(folder, CONFIG_FILE)
    store = conditional_store(path)
    upload = expect_version(store, store.version(files.filesystem(path)[1])) if store else None
    config_hash = match_run(folder, kind, config, details)
    run = read_intact_document(path, RunConfig)
    # `mmfeat verify --fix` writes a damaged config.json again, without the details.
    if run is None or (details and "details" not in run):
        facts: dict[str, Any] = {"format": run["format"] if run else newest_format(kind)}
        facts["kind"] = kind
        facts |= {"config": dict(config), "hash": config_hash}
        with suppress(ObjectChangedError):  # another run was faster
            files.write_json(path, facts | ({"details": dict(details)} if details else {}), upload)
    # Join the faster run, or fail.
    return match_run(folder, kind, config, details) if store else config_hash
