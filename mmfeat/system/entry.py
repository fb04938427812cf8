"""Run a command's main function: turn its errors into one line and an exit code."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from mmfeat.errors import MmfeatError
from mmfeat.import_path import safe_child_processes
from mmfeat.system import console
from mmfeat.system.os_errors import explain_os_error

Main = Callable[[Sequence[str]], None]
"""The main function of a command. It takes the arguments after the command's name."""

_log = logging.getLogger("mmfeat")


def run_main(main: Main, arguments: Sequence[str] | None = None) -> int:
    """Run the main function of a command and return its exit code.

    Args:
        main: the main function.
        arguments: its arguments; `sys.argv[1:]` by default.

    Returns:
        0 after success, 1 after an error of the user or the disk, 130 after an interrupt.
    """
    try:
        configure_logging()
        with safe_child_processes():
            main(sys.argv[1:] if arguments is None else arguments)
    except MmfeatError as error:
        _log.debug("the command failed", exc_info=True)
        console.print_err(f"mmfeat: error: {error}")
        return 1
    except OSError as error:
        _log.debug("the command failed", exc_info=True)
        explained = explain_os_error(error)
        explained.cure = explained.cure or "Run the same command again; finished work is kept"
        console.print_err(f"mmfeat: error: {explained}")
        return 1
    except KeyboardInterrupt:
        console.print_err("mmfeat: interrupted. Run the same command again to continue")
        return 130
    return 0


def configure_logging() -> None:
    """Set the log level from the environment variable `MMFEAT_LOG`, `ERROR` by default.

    At `DEBUG`, errors that are shown as one line are logged with their traceback.

    Raises:
        MmfeatError: `MMFEAT_LOG` is not a log level.
    """
    level = os.environ.get("MMFEAT_LOG", "ERROR").upper()
    levels = logging.getLevelNamesMapping()
    if level not in levels:
        raise MmfeatError(f"MMFEAT_LOG must be one of {', '.join(levels)}", got=level)
    logging.basicConfig(level=level)
