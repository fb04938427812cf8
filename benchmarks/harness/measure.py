"""Measure the wall time, processor time and peak memory of one command from outside.

On Linux a child process inherits the peak memory of its parent. A benchmark with its libraries
loaded would hide the peak of a small program such as tar. `run` therefore starts this file as a
program of its own, which loads almost nothing, and that program starts the command.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36


class Usage(NamedTuple):
    """The resources that one run of a command used."""

    seconds: float
    """Wall time from start to exit."""
    seconds_to_disk: float
    """Wall time from start until the output is synced to disk."""
    processor_seconds: float
    """User and system time of the command and all its child processes."""
    peak_mb: float
    """Peak resident memory of the largest process, in 10^6 bytes."""


def run(command: list[str], *, output: str, folder: str, log: str) -> Usage:
    """Run a command and measure it.

    Args:
        command: program and arguments.
        output: folder that the command writes; it is synced to disk after the run.
        folder: working directory.
        log: file for stdout and stderr.

    Raises:
        RuntimeError: the command failed; the message ends with the last lines of the log.
    """
    import subprocess  # the measuring program must not load it

    result = f"{log}.json"
    measuring_program = [sys.executable, "-I", "-S", __file__, result, output, *command]
    with open(log, "wb") as file:
        code = subprocess.run(measuring_program, cwd=folder, stdout=file, stderr=file).returncode
    if code:
        with open(log, errors="replace") as file:
            last_lines = "".join(file.readlines()[-15:])
        raise RuntimeError(f"{' '.join(command)} exited with code {code}:\n{last_lines}")
    with open(result) as file:
        return Usage(*json.load(file))


def _measure(command: list[str], output: str) -> tuple[int, Usage]:
    """Run a command; return its exit code and usage."""
    _adopt_orphans()
    os.sync()  # earlier writes must not count against this command
    started = time.perf_counter()
    # An installed program keeps its compiled modules, so let Python write them here too.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = os.posix_spawnp(command[0], command, environment)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - started
    _sync_files(output)
    seconds_to_disk = time.perf_counter() - started
    usage = _usage_of_children()
    unit = 1 if sys.platform == "darwin" else 1024
    return os.waitstatus_to_exitcode(status), Usage(
        seconds,
        seconds_to_disk,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * unit / 1e6,
    )


def _adopt_orphans() -> None:
    """Become the parent of processes that the command leaves behind, so that they are counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _usage_of_children() -> resource.struct_rusage:
    """Wait for all child processes and return what they used together."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return resource.getrusage(resource.RUSAGE_CHILDREN)


def _sync_files(folder: str) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())


def _main() -> int:
    result, output, *command = sys.argv[1:]
    code, usage = _measure(command, output)
    with open(result, "w") as file:
        json.dump(usage, file)
    return code


if __name__ == "__main__":
    sys.exit(_main())
