"""Run a command in a process of its own, in a work folder."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import measure
from benchmarks.harness.measure import Usage

REPOSITORY = Path(__file__).parents[2]


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def work_folder(path: str) -> Iterator[Path]:
    """Open the folder at a path, which is kept, or a temporary one if the path is empty."""
    if path:
        Path(path).mkdir(parents=True, exist_ok=True)
        yield Path(path).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mmfeat-benchmark-") as temporary:
        yield Path(temporary)


def run_command(command: Sequence[str], output: Path) -> Usage:
    """Empty an output folder, run the command that writes into it, and measure the run.

    The log is written next to the folder.

    Raises:
        RuntimeError: the command failed.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = output.with_name(f"{output.name}.log")
    return measure.run(list(command), output=str(output), folder=str(REPOSITORY), log=str(log))


def run_mmfeat(command: str, source: Path, output: Path, *flags: str) -> Usage:
    """Run a command of mmfeat and measure the run.

    Raises:
        RuntimeError: the command failed.
    """
    program = [sys.executable, "-m", "mmfeat", command]
    return run_command([*program, str(source), str(output), *flags], output)
