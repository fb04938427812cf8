"""Time what stages do for each shard besides its records: plan, make, resume, finish, open.

Each step runs in a process of its own, on few and on many shards of one short text each. What a
shard costs is the difference divided by that of the shards, so that what a command costs once does
not count. If the cost per shard does not grow, that of all shards is linear.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.run import work_folder
from mmfeat.cli.info import describe_store
from mmfeat.config import parse_args
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.store import Stage
from mmfeat.system import print_err, show_table
from pipelines.shard_workers import make_in_workers

STEPS = ("plan", "make", "resume", "finish", "open")


@dataclass
class Options:
    """Time each step on many tiny shards on the local disk.

    The last line of the output is one JSON object.
    """

    shards: int = 10_000
    """Shards of the large store."""
    few: int = 0
    """Shards of the small store; default: a tenth."""
    features: bool = False
    """Extract features of the shards, too, with a built-in encoder."""
    make_in: str = ""
    """Folder in memory to make shards in, which are then copied; default: they are made in place,
    where each of them waits for the disk."""
    processes: int = 1
    """Processes that make shards."""
    folder: str = ""
    """Folder for the stores; default: a temporary folder."""
    step: str = ""
    """Run one step in this process, on `--shards` shards, and print its cost."""


def make_sharding(folder: Path, store: Path) -> Stage:
    """Return the stage that shards a table, a record per shard."""
    return Sharding(ShardConfig(str(folder / "table.csv"), str(store), samples_per_shard=1))


def make_extraction(folder: Path, store: Path) -> Stage:
    """Return the stage that makes a column of features, without autotuning."""
    encoder = ("text=builtin:text?dim=64",)
    flags = {"encoder": encoder, "precision": "float32", "batch_size": 8}
    return Extraction(ExtractConfig(str(folder / "shards"), str(store), **flags))


STAGES: dict[str, Callable[[Path, Path], Stage]] = {
    "shards": make_sharding,
    "features": make_extraction,
}


def run_step(name: str, folder: Path, processes: int, made_in: Path) -> dict[str, float]:
    """Run a step and return its seconds and the growth of the memory in bytes.

    Args:
        name: a store and a step, such as `shards plan`.
        folder: folder of the stores.
        processes: processes that make shards.
        made_in: folder in which shards are made.
    """
    kind, _, step = name.partition(" ")
    store = (made_in if step == "make" else folder) / kind
    stage = STAGES[kind](folder, store)
    tasks = []
    if step in ("make", "finish"):
        tasks = stage.plan()
    before, start = _start_measuring_memory(), time.perf_counter()
    start_processor = _processor_seconds()
    match step:
        case "plan" | "resume":
            tasks = stage.plan()
        case "make":
            stage.processes = processes
            todo = [task for task in tasks if not task.done]
            made = sum(1 for _ in make_in_workers(stage, todo, processes))
            assert made == len(todo)
        case "finish":
            stage.finish([task.shard for task in tasks])
        case "open":
            describe_store(str(store))
    seconds = time.perf_counter() - start
    processor = _processor_seconds() - start_processor
    return {"seconds": seconds, "processor": processor, "bytes": _memory_bytes("VmHWM") - before}


def _start_measuring_memory() -> int:
    """Return the memory of this process in bytes, and let its peak begin with that."""
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _memory_bytes("VmRSS")


def _memory_bytes(entry: str) -> int:
    """Return an entry of Linux about the memory of this process, such as its peak `VmHWM`."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(text.partition(f"{entry}:")[2].split(maxsplit=1)[0])


def _processor_seconds() -> float:
    """Return the time of this process and of the workers that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(arguments: Sequence[str]) -> None:
    """Run all steps on both numbers of shards, and print what a shard costs."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.many_shards")
    if options.step:
        made_in = Path(options.make_in or options.folder)
        costs = run_step(options.step, Path(options.folder), options.processes, made_in)
        print(json.dumps(costs))
        return
    few, many = options.few or options.shards // 10, options.shards
    with work_folder(options.folder) as folder:
        of_few, of_many = (_run_steps(folder / str(n), n, options) for n in (few, many))
    per_shard = {step: _per_shard(of_few[step], of_many[step], many - few) for step in of_many}
    show_table(
        f"per shard, from {few:,} to {many:,} shards",
        ["", "ms", "ms of a core", "bytes of memory"],
        [
            [step, f"{cost['ms']:.3f}", f"{cost['processor_ms']:.3f}", f"{cost['bytes']:,.0f}"]
            for step, cost in per_shard.items()
        ],
    )
    print(
        json.dumps({"shards": many, "few": few, **per_shard, "of_few": of_few, "of_many": of_many})
    )


def _per_shard(few: dict[str, float], many: dict[str, float], shards: int) -> dict[str, float]:
    costs = {
        "ms": 1000 * (many["seconds"] - few["seconds"]),
        "processor_ms": 1000 * (many["processor"] - few["processor"]),
        "bytes": many["bytes"] - few["bytes"],
    }
    return {name: round(cost / shards, 4) for name, cost in costs.items()}


def _run_steps(folder: Path, shards: int, options: Options) -> dict[str, dict[str, float]]:
    """Return the cost of each step: `shards plan` → seconds, processor, bytes."""
    folder.mkdir(parents=True)
    with open(folder / "table.csv", "w", encoding="utf-8") as table:
        table.write("text\n" + "".join(f"text {number}\n" for number in range(shards)))
    costs = {}
    made_in = Path(options.make_in) / folder.name if options.make_in else folder
    for kind in STAGES if options.features else ["shards"]:
        for step in STEPS:
            print_err(f"many_shards: {kind} {step}, {shards:,} shards")
            if options.make_in and step == "make":
                _copy(folder / kind, made_in / kind)
            costs[f"{kind} {step}"] = _run_in_process(f"{kind} {step}", folder, made_in, options)
            if options.make_in and step == "make":
                _copy(made_in / kind, folder / kind)
                shutil.rmtree(made_in)
    return costs


def _copy(source: Path, target: Path) -> None:
    """Copy a store without waiting for the disk."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def _run_in_process(step: str, folder: Path, made_in: Path, options: Options) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.many_shards", "--step", step]
    flags = ["--folder", str(folder), "--make-in", str(made_in)]
    output = subprocess.run(
        [*command, *flags, "--processes", str(options.processes)],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ).stdout
    costs: dict[str, float] = json.loads(output.splitlines()[-1])
    return costs


if __name__ == "__main__":
    main(sys.argv[1:])
