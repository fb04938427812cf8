"""The summary of a finished stage, and whether there is nothing to do. Imports no Beam."""

from collections import Counter
from contextlib import ExitStack
from typing import Any

from mmfeat.storage import files, lock_directory
from mmfeat.store import MANIFEST_FILE, Stage
from mmfeat.system import console, waiting_for


def find_finished(stage: Stage) -> dict[str, Any] | None:
    """Return the manifest of a stage and print its summary if all of its shards are made.

    Only a directory with a manifest is planned here: others are planned where they are made.

    Returns:
        None if there is, or may be, something to do.
    """
    if not all(files.exists(files.join(folder, MANIFEST_FILE)) for folder in stage.outputs):
        return None
    with ExitStack() as stack:
        for folder in stage.outputs:
            stack.enter_context(lock_directory(folder))
        with waiting_for(f"{stage.name}: planning"):
            tasks = stage.plan()
        manifest = stage.finished_manifest() if all(task.done for task in tasks) else None
        if manifest:
            print_nothing_to_do(stage, manifest)
        return manifest


def print_nothing_to_do(stage: Stage, manifest: dict[str, Any]) -> None:
    """Say that a stage is finished, with its summary."""
    console.print_out(f"{stage.name}: nothing to do, {stage.output} is finished")
    print_summary(stage, manifest, {})


def print_summary(stage: Stage, manifest: dict[str, Any], speed: dict[str, Any]) -> None:
    """Print the closing table of a stage.

    Args:
        stage: the stage.
        manifest: its manifest.
        speed: further lines: time, speed, memory.
    """
    totals = manifest["totals"]
    facts: dict[str, Any] = {"in": totals["records"], "out": totals["out"]}
    usable = Counter(totals["problems"]) - Counter(totals["rejected"])
    partial = {reason: n for reason, n in usable.items() if stage.is_partial(reason)}
    extras = {reason: n for reason, n in usable.items() if reason not in partial}
    if stage.counts_partial:
        facts["partial (out, but lack a part)"] = sum(partial.values())
    facts |= {f"  {reason}": number for reason, number in partial.items()}
    if extras:
        facts["complete, but an extra member is left out"] = sum(extras.values())
        facts |= {f"  {reason}": number for reason, number in extras.items()}
    facts["rejected"] = totals["records"] - totals["out"]
    # The space keeps these names apart from equal reasons of partial records.
    facts |= {f"  {reason} ": number for reason, number in totals["rejected"].items()}
    facts["shards"] = len(manifest["shards"])
    facts |= stage.summary(manifest)
    console.show_summary(f"{stage.name} → {stage.output}", {**facts, **speed})
    for line in stage.advice(manifest):
        console.print_out(line)
