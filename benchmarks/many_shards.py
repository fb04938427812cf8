"""Time what `mmfeat shard` does for each shard besides its records: plan, resume, finish, open.

Each step runs in a process of its own, on few and on many shards of one short text each. What a
shard costs is the difference divided by that of the shards.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.run import work_folder
from mmfeat.cli.info import describe_store
from mmfeat.config import parse_args
from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.system import print_err, show_table

STEPS = ("plan", "make", "resume", "finish", "open")


@dataclass
class Options:
    """Time each step on many tiny shards on the local disk.

    The last line of the output is one JSON object.
    """

    shards: int = 10_000
    """Shards of the large store; the small one has a tenth."""
    folder: str = ""
    """Folder for the stores; default: a temporary folder."""
    step: str = ""
    """Run one step in this process, on `--shards` shards, and print its cost."""


def run_step(step: str, folder: Path) -> dict[str, float]:
    """Run a step and return its seconds and the growth of the memory in bytes."""
    stage = Sharding(
        ShardConfig(str(folder / "table.csv"), str(folder / "store"), samples_per_shard=1)
    )
    tasks = []
    if step in ("make", "finish"):
        tasks = stage.plan()
    before, start = _peak_bytes(), time.perf_counter()
    start_processor = time.process_time()
    match step:
        case "plan" | "resume":
            tasks = stage.plan()
        case "make":
            stage.processes, loaded = 1, stage.load()
            for task in tasks:
                stage.process(task, loaded)
        case "finish":
            stage.finish([task.shard for task in tasks])
        case "open":
            describe_store(str(folder / "store"))
    seconds = time.perf_counter() - start
    processor = time.process_time() - start_processor
    return {"seconds": seconds, "processor": processor, "bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str]) -> None:
    """Run all steps on both numbers of shards, and print what a shard costs."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.many_shards")
    if options.step:
        print(json.dumps(run_step(options.step, Path(options.folder))))
        return
    few, many = options.shards // 10, options.shards
    costs: dict[int, dict[str, dict[str, float]]] = {}
    with work_folder(options.folder) as folder:
        for number in (few, many):
            costs[number] = _run_steps(folder / str(number), number)
    result = {
        step: {
            "ms": 1000 * (costs[many][step]["seconds"] - costs[few][step]["seconds"]),
            "processor_ms": 1000 * (costs[many][step]["processor"] - costs[few][step]["processor"]),
            "bytes": costs[many][step]["bytes"] - costs[few][step]["bytes"],
        }
        for step in STEPS
    }
    per_shard = {
        step: {name: round(value / (many - few), 4) for name, value in cost.items()}
        for step, cost in result.items()
    }
    show_table(
        f"per shard, from {few:,} to {many:,} shards",
        ["", "ms", "ms of a core", "bytes of memory"],
        [
            [step, f"{cost['ms']:.3f}", f"{cost['processor_ms']:.3f}", f"{cost['bytes']:,.0f}"]
            for step, cost in per_shard.items()
        ],
    )
    print(json.dumps({"shards": many, **per_shard}))


def _run_steps(folder: Path, shards: int) -> dict[str, dict[str, float]]:
    folder.mkdir(parents=True)
    with open(folder / "table.csv", "w", encoding="utf-8") as table:
        table.write("text\n" + "".join(f"text {number}\n" for number in range(shards)))
    costs = {}
    for step in STEPS:
        print_err(f"many_shards: {step} {shards:,} shards")
        command = [sys.executable, "-m", "benchmarks.many_shards", "--step", step]
        output = subprocess.run(
            [*command, "--folder", str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        ).stdout
        costs[step] = json.loads(output)
    return costs


if __name__ == "__main__":
    main(sys.argv[1:])
