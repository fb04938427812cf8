"""The command `mmfeat info`: what a store contains, finished or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mmfeat.cli.progress import measure_progress
from mmfeat.cli.store_commands import command_of
from mmfeat.config import metavar, parse_args
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import parse_columns
from mmfeat.storage import check_value, files
from mmfeat.store import (
    CONFIG_FILE,
    MANIFEST_FILE,
    RunConfig,
    check_folder,
    check_format,
    open_recorded,
    read_failures,
    read_manifest,
    read_parquet,
)
from mmfeat.system import console

_LEADERS = 5
"""Models of a comparison that are shown."""


@dataclass
class InfoConfig:
    """Show what a directory of mmfeat contains: shards, features, a model or predictions."""

    path: Annotated[str, tyro.conf.Positional, metavar("PATH")]
    """The directory."""
    json: bool = False
    """Print one JSON object and nothing else."""


def main(arguments: Sequence[str]) -> None:
    """Print what the directory contains."""
    config = parse_args(InfoConfig, arguments, prog="mmfeat info")
    facts = describe_store(config.path)
    if config.json:
        console.print_json(facts, indent=2)
        return
    console.show_summary(f"{facts['kind']} in {facts['path']}", _summary_lines(facts))


def describe_store(path: str) -> dict[str, Any]:
    """Return the content of a store's config, manifest and failure records, JSON-ready.

    Raises:
        MmfeatError: the path is not a store of mmfeat, or one of a newer format.
    """
    run = files.read_json(files.join(path, CONFIG_FILE))
    if not isinstance(run, dict) or not isinstance(run.get("kind"), str):
        check_folder(path)
        raise MmfeatError(
            f"a store of mmfeat has a {CONFIG_FILE}, and {path} has none", cure="Check the path"
        )
    check_format(path, run)
    check_value(run, RunConfig, files.join(path, CONFIG_FILE))
    manifest = read_manifest(path, run["kind"]) if _is_finished(path) else {}
    return {
        "path": path,
        "kind": run["kind"],
        "finished": bool(manifest),
        "config": run["config"],
        "config_hash": run["hash"],
        **{key: value for key, value in manifest.items() if key not in ("config", "kind")},
        **_more_facts(path, run, manifest),
        "failed_shards": _read_failures(path, finished=bool(manifest)),
    }


def _read_failures(path: str, *, finished: bool) -> dict[str, str]:
    """Return the failures of a store. A finished one in remote storage is not listed: it may have
    millions of files, and it has failures only if a later run has added some.
    """
    return read_failures(path) if files.is_local(path) or not finished else {}


def _more_facts(path: str, run: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what the documents of a store do not say by themselves."""
    if not manifest:
        return {"progress": measure_progress(path, run)}
    if run["kind"] == "comparison":
        try:
            with open_recorded(path, name := "leaderboard.parquet", manifest) as file:
                rows = read_parquet(files.join(path, name), ["name", "mean"], file=file)
        except (DamagedFileError, FileNotFoundError):  # the winner can still be used
            return {}
        return {"leaderboard": rows.to_pylist()}
    if run["kind"] == "features":  # the manifest counts the samples tables and each column
        totals = manifest["totals"]
        tables = (totals, *totals["columns"].values())
        written = sum(table["bytes_written"] for table in tables)
        return {"totals": totals | {"bytes_written": written}}
    return {}


def _is_finished(path: str) -> bool:
    return files.exists(files.join(path, MANIFEST_FILE))


def _summary_lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        ("finished", "yes" if facts["finished"] else _unfinished_cure(facts)),
        *(
            (name, " of ".join(f"{number:,}" for number in numbers))
            for name, numbers in facts.get("progress", {}).items()
        ),
        ("configuration", facts["config_hash"][:12]),
    ]
    config = facts["config"]
    if facts["kind"] == "comparison":
        lines += _leaderboard_lines(facts)
        config = {name: value for name, value in config.items() if name != "systems"}  # digests
    lines += _nested_lines(config, "  ")
    if "shards" in facts:
        lines.append(("shards", len(facts["shards"])))
    if "slots" in facts:
        lines.append(("slots", ", ".join(facts["slots"])))
    descriptions = facts.get("columns", {}) if facts["kind"] == "features" else {}
    for name, column in parse_columns(descriptions, facts["path"]).items():
        shape = f"{column.slot}, {column.summary}"
        lines.append((f"column {name}", f"{shape}, fingerprint {column.fingerprint[:12]}"))
    if "winner" in facts:
        lines.append(("winner", f"{facts['winner']['name']}, in {facts['winner']['model']}"))
    if "missing" in facts:
        names = (f"{name} (seeds {', '.join(map(str, s))})" for name, s in facts["missing"].items())
        lines.append(("not trained within the time limit", ", ".join(names)))
    lines += _nested_lines(facts.get("totals", {}), "")
    lines += [(f"failed shard {shard}", error) for shard, error in facts["failed_shards"].items()]
    return lines


def _unfinished_cure(facts: dict[str, Any]) -> str:
    return f"no: run again {command_of(facts['kind'], facts['path'])}"


def _leaderboard_lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the first models of a finished comparison with their metric on the test split."""
    rows = facts.get("leaderboard", ())
    if not rows:
        return []
    number = f"{len(rows):,} models, best first" if len(rows) > 1 else "1 model"
    lines = [("leaderboard", f"{facts['config'].get('metric', 'metric')} of {number}")]
    lines += [(f"  {row['name']}", f"{row['mean']:.3f}") for row in rows[:_LEADERS]]
    return lines


def _nested_lines(facts: dict[str, Any], indent: str) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in facts.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(item.get("name", number)): item for number, item in enumerate(value)}
        if isinstance(value, dict):
            lines += (
                [(f"{indent}{name}", ""), *_nested_lines(value, indent + "  ")] if value else []
            )
        else:
            lines.append((f"{indent}{name}", value))
    return lines
