"""Run shard, extract and score on every engine that this machine has, and compare the stores.

python -m tests.engines.main [ENGINE …] [--data FOLDER] [--keep]

Each engine must give the stores of the local run, byte for byte; of JSON documents, times are left
out. The last line is a JSON object: engine → {equal, seconds, ratio}, or {skipped: why}. The ratio
is to the seconds of the local run.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import picture_bytes
from tests.engines.install import HERE, MissingToolError, install_program
from tests.engines.servers import FlinkCluster, flink_cluster, job_server
from tests.golden.compare import compare

SHARED = Path(os.environ.get("SHARED", HERE.parents[2] / "shared")) / "data" / "emoji"
STAGES = ("shard", "extract", "score")
STAGE_SECONDS = 400

LOOPBACK = ("--runner=Portable", "--environment_type=LOOPBACK")


class Engine:
    """An engine that runs: its flags, and the fault of each stage.

    Args:
        flags: flags of the stages.
        faults: stage → what to do to it in the middle.
    """

    def __init__(self, flags: tuple[str, ...], faults: dict[str, Callable[[], None]] | None = None):
        self.flags, self.faults = flags, faults or {}


@contextmanager
def local(logs: Path) -> Iterator[Engine]:
    yield Engine(("--runner=local",))


@contextmanager
def embedded(logs: Path) -> Iterator[Engine]:
    yield Engine((*LOOPBACK, "--job_endpoint=embed"))


@contextmanager
def prism(logs: Path) -> Iterator[Engine]:
    yield Engine(("--runner=Prism", f"--prism_location={install_program('prism')}"))


@contextmanager
def flink(logs: Path) -> Iterator[Engine]:
    with job_server("flink", "[local]", logs) as endpoint:
        yield Engine((*LOOPBACK, f"--job_endpoint={endpoint}"))


@contextmanager
def spark(logs: Path) -> Iterator[Engine]:
    with job_server("spark", "local[2]", logs) as endpoint:
        yield Engine((*LOOPBACK, f"--job_endpoint={endpoint}"))


@contextmanager
def cluster(logs: Path) -> Iterator[Engine]:
    with _cluster(logs) as (_, engine):
        yield engine


@contextmanager
def cluster_with_deaths(logs: Path) -> Iterator[Engine]:
    with _cluster(logs) as (managers, engine):
        engine.faults = {"shard": managers.replace_task_manager, "extract": managers.kill_worker}
        yield engine


@contextmanager
def _cluster(logs: Path) -> Iterator[tuple[FlinkCluster, Engine]]:
    boot = install_program("container")
    inherited = {"WORKER_PYTHON": sys.executable, "WORKER_BOOT": str(boot)}
    os.environ.update(inherited, PYTHONPATH=str(HERE.parents[1]))  # by workers, from TaskManagers
    config = json.dumps({"command": str(HERE / "boot.sh")})
    with ExitStack() as stack:
        managers = stack.enter_context(flink_cluster(logs))
        endpoint = stack.enter_context(job_server("flink", managers.master, logs))
        flags = ("--runner=Portable", f"--job_endpoint={endpoint}", "--parallelism=4")  # all slots
        workers = ("--environment_type=PROCESS", f"--environment_config={config}")
        yield managers, Engine((*flags, *workers, "--engine_timeout=300"))


ENGINES = {
    "local": local,
    "portable, in this process": embedded,
    "Prism": prism,
    "Flink": flink,
    "Flink cluster, PROCESS": cluster,
    "Flink cluster, TaskManager and worker killed": cluster_with_deaths,
    "Spark": spark,
}


def main() -> int:
    """Run the engines. The exit code is 1 if one has failed or has other stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", help=f"some of: {', '.join(ENGINES)}")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with metadata.csv")
    parser.add_argument("--minutes", type=int, default=15, help="start no engine after them")
    parser.add_argument("--keep", action="store_true", help="keep stores and logs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the servers, too
    scratch = Path(tempfile.mkdtemp(prefix="mmfeat-engines-"))
    table = arguments.data / "metadata.csv"
    if not table.exists():
        table = make_table(scratch / "raw")
    results: dict[str, dict[str, object]] = {}
    chosen = ["local", *(name for name in arguments.engines or ENGINES if name != "local")]
    print(f"{'engine':<46}{'stage':<9}{'equal':<7}{'seconds':>8}{'ratio':>8}", flush=True)
    seconds: dict[str, dict[str, float]] = {}
    end = time.monotonic() + 60 * arguments.minutes
    for name in chosen:
        try:
            if time.monotonic() > end:
                raise MissingToolError(f"{arguments.minutes} minutes are over")
            seconds[name] = run_engine(name, scratch, table)
        except MissingToolError as error:
            results[name] = {"skipped": str(error)}
            print(f"{name:<46}skipped: {error}", flush=True)
            continue
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results[name] = {"equal": False, "error": str(error)}
            print(f"{name:<46}failed: {error}", flush=True)
            continue
        results[name] = show(name, seconds[name], seconds["local"], scratch)
    failed = [name for name, result in results.items() if result.get("equal") is False]
    if failed or arguments.keep:
        print(f"stores and logs are in {scratch}")
    else:
        shutil.rmtree(scratch)
    print(json.dumps(results, ensure_ascii=False))
    return 1 if failed else 0


def run_engine(name: str, scratch: Path, table: Path) -> dict[str, float]:
    """Run all stages on an engine and return the seconds of each.

    All engines write to folders of the same path, which is renamed afterwards, because
    configurations name their input.
    """
    run = scratch / "run"
    shards, features, predictions = run / "shards", run / "features", run / "predictions"
    model = scratch / "model"
    fixed = ("--precision=float32", "--batch-size=64")  # autotuning may choose others
    commands = {
        "shard": ("shard", table, shards, "--samples-per-shard=50"),
        "extract": ("extract", shards, features, *fixed),
        "score": ("score", model, features, predictions),
    }
    seconds = {}
    folder = scratch / "logs" / name.replace(" ", "_")
    with ENGINES[name](folder) as engine:
        for stage in STAGES:
            if stage == "score" and not model.exists():
                run_command("train", features, model, "--target=label", "--epochs=1")
            started = time.monotonic()
            with _fault(engine.faults.get(stage), Path(commands[stage][2])):
                run_command(*commands[stage], *engine.flags)
            seconds[stage] = time.monotonic() - started
    run.rename(scratch / name)
    return seconds


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


def run_command(*arguments: object) -> None:
    """Run a command of mmfeat.

    Raises:
        RuntimeError: it has failed.
    """
    command = [sys.executable, "-m", "mmfeat", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=STAGE_SECONDS, cwd=HERE.parents[1]
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"mmfeat {arguments[0]}: {lines[-1] if lines else done.returncode}")


def show(
    name: str, seconds: dict[str, float], reference: dict[str, float], scratch: Path
) -> dict[str, object]:
    """Print a line per stage and return the result of the engine."""
    folders = dict(zip(STAGES, ("shards", "features", "predictions"), strict=True))
    found = compare(scratch / "local", scratch / name)
    equal = True
    for stage in STAGES:
        differences = found.get(folders[stage], {})
        # The checksum of a receipt differs if its seconds do.
        differing = {file: how for file, how in differences.items() if how not in ("", "checksum")}
        word = "no" if differing else "yes"
        ratio = seconds[stage] / reference[stage]
        print(f"{name:<46}{stage:<9}{word:<7}{seconds[stage]:>8.1f}{ratio:>8.1f}", flush=True)
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
