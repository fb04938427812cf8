"""End the process of a command without taking its objects apart.

With torch and Beam loaded, the interpreter needs seconds to free what the system frees at once.
"""

import atexit
import logging
import os
import sys

_exit_code: int | None = None


def end_early() -> None:
    """Let this process end after its threads and exit handlers; objects are not freed one by one.

    Call it before other modules register exit handlers: the first one registered runs last.
    """
    atexit.register(_end)


def set_exit_code(code: int) -> None:
    """Say how the command ended. A process that never says so ends as usual."""
    global _exit_code
    _exit_code = code


def _end() -> None:
    if _exit_code is None:
        return
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # the interpreter reports lost output
        return
    os._exit(_exit_code)
