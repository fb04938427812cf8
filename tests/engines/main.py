"""Run shard, extract and score on every engine that this machine has, and compare the stores.

python -m tests.engines.main [ENGINE …] [--data FOLDER] [--minutes M] [--keep]

Each engine must give the stores of the local run, byte for byte; of JSON documents, times are left
out. The last line is a JSON object: engine → {equal, seconds, ratio, processor_seconds}, or
{skipped: why}. The ratio is to the seconds of the local run. The processor time is that of the
commands and of the servers. The exit code is 1 if an engine has failed or has other stores.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REPOSITORY, picture_bytes
from tests.engines.commands import Clock, TimeIsOverError, keep_scratch, run_mmfeat
from tests.engines.install import MissingToolError
from tests.engines.rows import DEFAULT, ROWS
from tests.golden.compare import compare

EMOJI = Path(os.environ.get("SHARED", REPOSITORY.parent / "shared")) / "data" / "emoji"
FOLDERS = {"shard": "shards", "extract": "features", "score": "predictions"}
"""Stage → folder of its output."""


def main() -> int:
    """Run the engines and print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--data", type=Path, default=EMOJI, help="folder with metadata.csv")
    parser.add_argument("--minutes", type=float, default=15, help="end after them")
    parser.add_argument("--keep", action="store_true", help="keep stores and logs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the servers, too
    scratch = Path(tempfile.mkdtemp(prefix="mmfeat-engines-"))
    keep_scratch(scratch / "tmp")
    table = arguments.data / "metadata.csv"
    if not table.exists():
        print(f"{table} does not exist; the records are generated")
        table = make_table(scratch / "raw")
    names = ["local", *(name for name in arguments.engines or DEFAULT if name != "local")]
    results = compare_engines(names, scratch, table, Clock(arguments.minutes))
    failed = [name for name, result in results.items() if result.get("equal") is False]
    if failed or arguments.keep:
        print(f"stores and logs are in {scratch}")
    else:
        shutil.rmtree(scratch)
    print(json.dumps(results, ensure_ascii=False))
    return 1 if failed else 0


def compare_engines(
    names: list[str], scratch: Path, table: Path, clock: Clock
) -> dict[str, dict[str, object]]:
    """Run all stages on engines, the local one first. Print a line per stage.

    Args:
        names: names of `ROWS`.
        scratch: folder for stores and logs.
        table: the input.
        clock: the time that is left. Engines for which there is none are skipped.

    Returns:
        Engine → its result.
    """
    print(f"{'engine':<28}{'stage':<9}{'equal':<7}{'seconds':>8}{'ratio':>8}", flush=True)
    results: dict[str, dict[str, object]] = {}
    seconds: dict[str, dict[str, float]] = {}
    for name in names:
        try:
            seconds[name], used = run_engine(name, scratch, table, clock)
        except (MissingToolError, TimeIsOverError) as error:
            results[name] = {"skipped": str(error)}
            print(f"{name:<28}skipped: {error}", flush=True)
        except (RuntimeError, OSError) as error:
            results[name] = {"equal": False, "error": str(error)}
            print(f"{name:<28}failed: {error}", flush=True)
        else:
            found = show(name, seconds[name], seconds["local"], scratch)
            results[name] = {**found, "processor_seconds": round(used, 1)}
        if "local" not in seconds:
            return results  # there is nothing to compare with
    return results


def _processor_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_engine(
    name: str, scratch: Path, table: Path, clock: Clock
) -> tuple[dict[str, float], float]:
    """Run all stages on an engine; return the seconds of each, and the processor time of all.

    All engines write to folders of the same path, which is renamed afterwards, because
    configurations name their input.
    """
    run, model = scratch / "run", scratch / "model"
    shards, features, predictions = (run / folder for folder in FOLDERS.values())
    fixed = ("--precision=float32", "--batch-size=64")  # autotuning may choose others
    commands = {
        "shard": ("shard", table, shards, "--samples-per-shard=50"),
        "extract": ("extract", shards, features, *fixed),
        "score": ("score", model, features, predictions),
    }
    seconds, start = {}, _processor_seconds()
    logs = scratch / "logs" / name.replace(" ", "_")
    clock.left()
    try:
        with ROWS[name](logs) as engine:
            for stage, command in commands.items():
                if stage == "score" and not model.exists():
                    recipe = ("--target=label", "--fusion=gmu", "--epochs=1")
                    train_start = _processor_seconds()
                    run_mmfeat(logs / "train.txt", clock, "train", features, model, *recipe)
                    start += _processor_seconds() - train_start
                started = time.monotonic()
                with _fault(engine.faults.get(stage), run / FOLDERS[stage]):
                    run_mmfeat(logs / f"{stage}.txt", clock, *command, *engine.flags)
                seconds[stage] = time.monotonic() - started
    finally:
        if run.exists():  # the next engine must not continue it
            run.rename(scratch / name)
    return seconds, _processor_seconds() - start


@contextmanager
def _fault(fault: Callable[[], None] | None, output: Path) -> Iterator[None]:
    """Do harm once, when a few shards of the output are made.

    Raises:
        RuntimeError: the block ended before.
    """
    if fault is None:
        yield
        return
    stop, done = threading.Event(), threading.Event()

    def wait() -> None:
        while not stop.wait(0.05):
            if len(list(output.glob("*_stats.json"))) >= 3:
                done.set()
                fault()
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if not done.is_set():
        raise RuntimeError("the stage ended before anything was killed")


def show(
    name: str, seconds: dict[str, float], reference: dict[str, float], scratch: Path
) -> dict[str, object]:
    """Print a line per stage and return the result of the engine."""
    found = compare(scratch / "local", scratch / name)
    equal = True
    for stage, folder in FOLDERS.items():
        differences = found.get(folder, {})
        # The checksum of a receipt differs if its seconds do.
        differing = {file: how for file, how in differences.items() if how not in ("", "checksum")}
        word = "no" if differing else "yes"
        ratio = seconds[stage] / reference[stage]
        print(f"{name:<28}{stage:<9}{word:<7}{seconds[stage]:>8.1f}{ratio:>8.1f}", flush=True)
        for file, how in list(differing.items())[:3]:
            print(f"    {file}: {how}")
        equal = equal and not differing
    total = sum(seconds.values())
    ratio = total / sum(reference.values())
    return {"equal": equal, "seconds": round(total, 1), "ratio": round(ratio, 2)}


def make_table(folder: Path) -> Path:
    """Write a table of generated records with pictures."""
    folder.mkdir(parents=True)
    lines = ["file_name,text,label,split"]
    for number in range(800):
        (folder / f"{number}.png").write_bytes(picture_bytes((number % 256, number * 7 % 256, 60)))
        split = ("train", "train", "train", "val", "test")[number % 5]
        lines.append(f"{number}.png,record {number},{'cat' if number % 2 else 'dog'},{split}")
    table = folder / "metadata.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


if __name__ == "__main__":
    sys.exit(main())
