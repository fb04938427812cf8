"""The command `mmfeat info`: what a store contains, finished or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mmfeat.config import metavar, parse_args
from mmfeat.errors import MmfeatError
from mmfeat.features import parse_columns
from mmfeat.storage import check_value, files
from mmfeat.store import (
    CONFIG_FILE,
    MANIFEST_FILE,
    RunConfig,
    check_format,
    read_failures,
    read_manifest,
)
from mmfeat.system import console


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
        "failed_shards": read_failures(path),
    }


def _is_finished(path: str) -> bool:
    return files.exists(files.join(path, MANIFEST_FILE))


def _summary_lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        ("finished", "yes" if facts["finished"] else "no: run the command that makes it again"),
        ("configuration", facts["config_hash"][:12]),
    ]
    lines += _nested_lines(facts["config"], "  ")
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
    lines += _nested_lines(facts.get("totals", {}), "")
    lines += [(f"failed shard {shard}", error) for shard, error in facts["failed_shards"].items()]
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
