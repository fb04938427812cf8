"""`mmfeat info`: what a directory of mmfeat holds, finished or not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mmfeat.config.flags import argument, parse
from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import Column
from mmfeat.store import files
from mmfeat.store.directory import CONFIG, MANIFEST, read_failures
from mmfeat.system import console


@dataclass
class InfoConfig:
    """Say what a directory of mmfeat holds: shards, features, a model or predictions."""

    path: Annotated[str, tyro.conf.Positional, argument("PATH")]
    """The directory."""
    json: bool = False
    """Print one JSON object and nothing else."""


def describe(path: str) -> dict[str, Any]:
    """What a store is, from its claim, its manifest and its failure receipts, JSON-ready.

    Raises:
        MmfeatError: no store of mmfeat at the path.
    """
    claim = files.read_json(files.join(path, CONFIG))
    if not isinstance(claim, dict) or "kind" not in claim:
        raise MmfeatError(
            f"a store of mmfeat has a {CONFIG}, and {path} has none", cure="Check the path"
        )
    manifest = files.read_json(files.join(path, MANIFEST)) or {}
    return {
        "path": path,
        "kind": claim["kind"],
        "finished": bool(manifest),
        "config": claim["config"],
        "config_hash": claim["hash"],
        **{key: value for key, value in manifest.items() if key not in ("config", "kind")},
        "failed_shards": read_failures(path),
    }


def main(arguments: Sequence[str]) -> None:
    """Print what the directory holds."""
    config = parse(InfoConfig, arguments, prog="mmfeat info")
    facts = describe(config.path)
    if config.json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    console.show_summary(f"{facts['kind']} in {facts['path']}", _lines(facts))


def _lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        ("finished", "yes" if facts["finished"] else "no: run the command that makes it again"),
        ("configuration", facts["config_hash"][:12]),
    ]
    lines += _nested(facts["config"], "  ")
    if "shards" in facts:
        lines.append(("shards", len(facts["shards"])))
    for name, column in (facts["columns"] if facts["kind"] == "features" else {}).items():
        shape = f"{column['modality']}, {Column(**column).summary}"
        lines.append((f"column {name}", f"{shape}, fingerprint {column['fingerprint'][:12]}"))
    if "winner" in facts:
        lines.append(("winner", f"{facts['winner']['name']}, in {facts['winner']['model']}"))
    lines += _nested(facts.get("totals", {}), "")
    lines += [(f"failed shard {shard}", error) for shard, error in facts["failed_shards"].items()]
    return lines


def _nested(facts: dict[str, Any], indent: str) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in facts.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(item.get("name", number)): item for number, item in enumerate(value)}
        if isinstance(value, dict):
            lines += [(f"{indent}{name}", ""), *_nested(value, indent + "  ")] if value else []
        else:
            lines.append((f"{indent}{name}", value))
    return lines
