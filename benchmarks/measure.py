"""Wall time, processor time and peak memory of one command, measured from outside it.

Linux starts a child's peak memory at what its parent held, so that a benchmark with its libraries
loaded would hide the peak of a small program such as tar. This file is therefore a program of
its own, which loads next to nothing and stands between the two.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from typing import NamedTuple

_SET_CHILD_SUBREAPER = 36


class Usage(NamedTuple):
    """What one run of a command took."""

    seconds: float
    """From start to exit."""
    seconds_to_disk: float
    """The same until the output could survive a power cut; some programs see to it themselves."""
    processor_seconds: float
    """User and system time, with that of all processes it started."""
    peak_mb: float
    """Largest resident size of any one of its processes, in 10^6 bytes."""


def run(command: list[str], *, output: str, folder: str, log: str) -> Usage:
    """Run a command in a folder; what it prints goes into the log.

    Raises:
        RuntimeError: it failed; the message ends with the end of the log.
    """
    import subprocess  # not needed, and not wanted in memory, in the program between

    result = f"{log}.json"
    between = [sys.executable, "-I", "-S", __file__, result, output, *command]
    with open(log, "wb") as file:
        code = subprocess.run(between, cwd=folder, stdout=file, stderr=file).returncode
    if code:
        with open(log, errors="replace") as file:
            end = "".join(file.readlines()[-15:])
        raise RuntimeError(f"{' '.join(command)} ended with code {code}:\n{end}")
    with open(result) as file:
        return Usage(*json.load(file))


def _measure(command: list[str], output: str) -> tuple[int, Usage]:
    _adopt_orphans()
    os.sync()  # what came before must not be written out on this command's time
    started = time.perf_counter()
    # As an installed program runs: with its modules compiled once and kept.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = os.posix_spawnp(command[0], command, environment)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - started
    _flush(output)
    seconds_to_disk = time.perf_counter() - started
    usage = _usage_of_all()
    unit = 1 if sys.platform == "darwin" else 1024
    return os.waitstatus_to_exitcode(status), Usage(
        seconds,
        seconds_to_disk,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * unit / 1e6,
    )


def _adopt_orphans() -> None:
    """Have processes that a command leaves behind waited for here, so that they are counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def _usage_of_all() -> resource.struct_rusage:
    """What the command and all processes under it took, once the last has ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return resource.getrusage(resource.RUSAGE_CHILDREN)


def _flush(output: str) -> None:
    for parent, _, names in os.walk(output):
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
