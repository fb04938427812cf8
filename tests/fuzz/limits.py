"""Limits of one read: CPU seconds, wall-clock seconds, memory."""

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

CPU_SECONDS = 5.0
"""An input that takes longer hangs. CPU time does not depend on the load of the machine."""

WALL_SECONDS = 60
"""After it, the system ends the process, also within a call of a C library that never returns."""

GROWN_BYTES = 512 << 20
"""An input, which has at most 256 KB, may make the process grow by this much."""

ADDRESS_BYTES = 2 << 30
"""Address space above that of the loaded libraries. A larger allocation fails."""


class HangError(BaseException):
    """The input took too much CPU time. No reader catches it."""


class MemoryGrowthError(Exception):
    """The input took too much memory."""


def limit_process() -> None:
    """Limit the address space, and make a hang an exception."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * resource.getpagesize() + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (space, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, _raise_hang)


def lift_limits() -> None:
    """Allow any address space, to load more libraries."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def call_limited(
    read: Callable[[bytes], Any], data: bytes, cpu_seconds: float = CPU_SECONDS
) -> None:
    """Read an input within the limits.

    Raises:
        HangError: it takes too long.
        MemoryGrowthError: it takes too much memory.
    """
    before = _peak_bytes()
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        read(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if (grown := _peak_bytes() - before) > GROWN_BYTES:
        raise MemoryGrowthError(f"{grown >> 20} MB for {len(data)} bytes")


def _peak_bytes() -> int:
    """Return the peak memory of this process. `ru_maxrss` begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


def _raise_hang(number: int, frame: FrameType | None) -> None:
    raise HangError("too many CPU seconds")
