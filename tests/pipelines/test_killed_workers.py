"""Workers that are killed at random moments cost time, and nothing else."""

import os
import random

import pytest

from mmfeat.store import leave_mark
from tests.faults import wait_for
from tests.figures import COUNTS
from tests.workers import kill, workers_of

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MMFEAT_TEST_KILLS", "6"))


@pytest.fixture
def table(make_table):
    rows = [
        {"file_name": f"{n:03}.png", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(240)
    ]
    return make_table(rows)


def kill_workers(run, folder, receipts):
    """Kill workers of a run, in turn while they make a shard and while they start.

    Args:
        run: the process of the run.
        folder: its output.
        receipts: pattern of the files that show its progress.

    Returns:
        Number of kills.
    """
    rng = random.Random(KILLS)
    killed: set[int] = set()

    def new_workers():
        return [worker for worker in workers_of(run.pid) if worker.pid not in killed]

    def count():
        return len(list(folder.glob(receipts)))

    while len(killed) < KILLS:
        done = count()
        if len(killed) % 2 == 0 and not wait_for(run, lambda done=done: count() > done, 120):
            break
        if not wait_for(run, new_workers, 120):
            break
        worker = rng.choice(new_workers() or [None])
        if worker and kill(worker):
            killed.add(worker.pid)
            COUNTS["killed workers"] += 1
    return len(killed)


@pytest.mark.parametrize("stage", ["shard", "extract", "score"])
def test_a_stage_survives_killed_workers(mmfeat, mmfeat_process, table, tmp_path, snapshot, stage):
    flags = ("--samples-per-shard", 10, "--validate", "decode")
    commands = {
        "shard": (table, tmp_path / "shard", *flags),
        "extract": (tmp_path / "shard", tmp_path / "extract"),
        "score": (tmp_path / "model", tmp_path / "extract", tmp_path / "score"),
    }
    for name, arguments in commands.items():
        assert mmfeat(name, *arguments).returncode == 0
        if name == stage:
            break
        if name == "extract":
            train = ("--target", "label", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
            mmfeat("train", tmp_path / "extract", tmp_path / "model", *train)
    inputs = [path for path in commands[stage] if path != tmp_path / stage]
    output = tmp_path / "out"
    output.mkdir()
    # One worker makes the shards of extract and score, as after a run that was killed.
    leave_mark(str(output), "00000")
    position = commands[stage].index(tmp_path / stage)
    processes = ("--processes", 2) if stage == "shard" else ()
    run = mmfeat_process(stage, *inputs[:position], output, *inputs[position:], *processes)
    receipts = "**/*_stats.json" if stage != "score" else "*_stats.json"
    kills = kill_workers(run, output, receipts)
    text = run.stdout.read().decode()
    assert run.wait() == 0, text
    assert "Traceback" not in text
    assert kills >= min(KILLS, 6)
    assert snapshot(output) == snapshot(tmp_path / stage)
