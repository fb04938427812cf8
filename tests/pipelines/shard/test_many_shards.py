"""Some hundred shards of one record each: planned, made, resumed and finished, and killed between.

Each run is a process of its own that makes shards without Beam.
"""

import subprocess
import sys

import pytest

from mmfeat.sharding import ShardConfig, Sharding
from tests.programs import REPOSITORY

SHARDS = 300

RUN = """
import os, signal, sys
from importlib import import_module

table, output, module, name, calls = sys.argv[1:]
from mmfeat.sharding import ShardConfig, Sharding

def kill_at_call(function, left):
    def replacement(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return replacement

if module:
    *path, name = name.split(".")
    target = import_module(module)
    for part in path:
        target = getattr(target, part)
    setattr(target, name, kill_at_call(getattr(target, name), [int(calls)]))
stage = Sharding(ShardConfig(table, output, samples_per_shard=1))
tasks = stage.plan()
loaded = stage.load()
for task in tasks:
    if not task.done:
        stage.process(task, loaded)
shards = [task.shard for task in tasks]
stage.finish(shards)
stage.clean_up(shards)
"""

PLAN, FILES = "mmfeat.store.plan_files", "mmfeat.storage.files"

POINTS = {
    "while the plan is written": (PLAN, "BlockWriter.write", 200),
    "before the index": ("mmfeat.sharding.shard_plan.plan", "write_plan_index", 1),
    "between the index and plan.json": (FILES, "write_json", 1),
    "between plan.json and config.json": (FILES, "write_json", 2),
    "between the plan and the first shard": ("mmfeat.sharding.stage", "ShardAttempt", 1),
    "before a receipt": ("mmfeat.store.receipts", "Receipt.write", 250),
    "while receipts are read at the end": ("mmfeat.store.receipts", "read_receipt", 450),
    "before the plan is removed": ("mmfeat.sharding.stage", "remove_plan", 1),
    "between plan.json and the rest of the plan": (FILES, "remove", 3),
    "before marks are removed": ("mmfeat.store.manifest", "remove_marks", 1),
    "before the manifest": (FILES, "write_json", SHARDS + 3),
}
"""Moment → module, function and number of the call at which the process is killed."""


def run(table, output, module="", name="", calls=0):
    arguments = [table, output, module, name, calls]
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], cwd=REPOSITORY, check=False
    ).returncode


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "table.csv"
    rows = [f"text {number},{number % 3}\n" for number in range(SHARDS)]
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """The store of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    assert run(table, folder) == 0
    return folder


def test_the_plan_of_many_shards_has_few_files(table, tmp_path):
    stage = Sharding(ShardConfig(str(table), str(tmp_path / "out"), samples_per_shard=1))
    assert len(stage.plan()) == SHARDS
    names = sorted(path.name for path in (tmp_path / "out" / "_plan").iterdir())
    assert names == ["block-00000.jsonl", "plan.json", "shards.parquet"]


def test_a_finished_store_is_planned_from_its_manifest(table, whole):
    stage = Sharding(ShardConfig(str(table), str(whole), samples_per_shard=1))
    tasks = stage.plan()
    assert [task.done for task in tasks] == [True] * SHARDS
    assert stage.finished_manifest()["totals"]["out"] == SHARDS
    assert not (whole / "_plan").exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_is_continued(table, whole, tmp_path, snapshot, point):
    output = tmp_path / "store"
    module, name, calls = POINTS[point]
    assert run(table, output, module, name, calls) == -9
    assert not (output / "manifest.json").exists()
    made = {path.name: path.stat().st_mtime_ns for path in output.glob("*_stats.json")}
    assert run(table, output) == 0
    assert snapshot(output) == snapshot(whole)
    kept = {name: (output / name).stat().st_mtime_ns for name in made}
    assert kept == made
