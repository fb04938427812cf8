"""The memory of this process."""

import resource
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB (10^6 bytes).

    On Linux it comes from /proc. The value of getrusage includes the memory of the process that
    this one was forked from.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
        return int(status.partition(b"VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
