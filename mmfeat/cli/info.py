"""The command `mmfeat info`: what a store contains, finished or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mmfeat.cli.progress import measure_progress
from mmfeat.config import metavar, parse_args
from mmfeat.errors import DamagedFileError, MmfeatError
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

_KINDS_WITH_ROWS = ("shards", "features", "model", "predictions", "ranking")


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
    facts = describe_contents(config.path)
    if config.json:
        console.print_json(facts, indent=2)
        return
    from mmfeat.cli.info_lines import sample_table, summary_lines

    console.show_summary(f"{facts['kind']} in {facts['path']}", summary_lines(facts))
    names, rows = sample_table(facts.get("contents", {}))
    if rows:
        title = "first rows" if facts["kind"] == "ranking" else "some rows"
        console.show_table(f"{title} of {facts['path']}", names, rows)


def describe_contents(path: str) -> dict[str, Any]:
    """Return `describe_store`, and for a finished store what its rows contain: `contents`.

    Errors as in `describe_store`. If a file of rows is damaged, `contents` has a `problem`.
    """
    facts = describe_store(path)
    if facts["finished"] and facts["kind"] in _KINDS_WITH_ROWS:
        from mmfeat.inspection.store_contents import read_contents

        facts["contents"] = read_contents(path)
    return facts


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
