"""Run a command's main function: turn its errors into one line and an exit code."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from mmfeat.errors import MmfeatError
from mmfeat.system import console

Main = Callable[[Sequence[str]], None]
"""The main function of a command. It takes the arguments after the command's name."""

_log = logging.getLogger("mmfeat")


def run_main(main: Main, arguments: Sequence[str] | None = None) -> int:
    """Run the main function of a command and return its exit code.

    The environment variable `MMFEAT_LOG` sets the log level (default `ERROR`). At `DEBUG` the
    traceback of a user's mistake is logged too.

    Args:
        main: the main function.
        arguments: what it is called with; `sys.argv[1:]` by default.

    Returns:
        0, 1 after an error of the user or the disk, or 130 after an interrupt.
    """
    logging.basicConfig(level=os.environ.get("MMFEAT_LOG", "ERROR").upper())
    try:
        main(sys.argv[1:] if arguments is None else arguments)
    except MmfeatError as error:
        _log.debug("the command failed", exc_info=True)
        console.note(f"mmfeat: error: {error}")
        return 1
    except OSError as error:
        _log.debug("the command failed", exc_info=True)
        console.note(
            f"mmfeat: error: {error}. Nothing half-written remains; run the same command again"
        )
        return 1
    except KeyboardInterrupt:
        console.note("mmfeat: interrupted. Run the same command again to continue")
        return 130
    return 0
