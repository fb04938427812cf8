"""Run a command's main function: turn its errors into one line and an exit code."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mmfeat.errors import MmfeatError, UsageError
from mmfeat.import_path import safe_child_processes
from mmfeat.plugins import explain_plugin_error
from mmfeat.startup import describe_interrupt, raise_interrupts, was_interrupted
from mmfeat.system import console
from mmfeat.system.os_errors import explain_storage_error, is_storage_error

Main = Callable[[Sequence[str]], None]
"""The main function of a command. It takes the arguments after the command's name."""

_log = logging.getLogger("mmfeat")


def run_main(main: Main, arguments: Sequence[str] | None = None) -> int:
    """Run the main function of a command and return its exit code.

    Args:
        main: the main function.
        arguments: its arguments; `sys.argv[1:]` by default.

    Returns:
        0 after success, 1 after an error of the user or the disk, 2 after an error in the
        arguments, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with raise_interrupts(), safe_child_processes():
            configure_logging()
            main(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()  # a full disk is an error of the command
    except KeyboardInterrupt:
        return _end_interrupted()
    except Exception as error:
        if was_interrupted():
            return _end_interrupted()
        if isinstance(error, MmfeatError) or is_storage_error(error):
            return _print_error(error)
        explained = explain_plugin_error(error)
        if explained is None:
            raise
        explained.__cause__ = error
        return _print_error(explained)
    return 0


def _end_interrupted() -> int:
    _log.debug("the command was interrupted", exc_info=True)
    message, code = describe_interrupt()
    console.print_err(message)
    return code


def _print_error(error: Exception) -> int:
    _log.debug("the command failed", exc_info=True)
    if not isinstance(error, MmfeatError):
        error = explain_storage_error(error)
        error.cure = error.cure or "Run the same command again; finished work is kept"
    console.print_err(f"mmfeat: error: {error}")
    return 2 if isinstance(error, UsageError) else 1


@contextmanager
def quiet_import() -> Iterator[None]:
    """Drop warnings that libraries log while they are imported, as commands do by their log level.

    The handlers of the process stay as they are.
    """
    root, handler = logging.getLogger(), logging.NullHandler()

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root.addHandler(handler)  # logging.warning() would add one that writes to stderr
    root.addFilter(is_error)
    try:
        yield
    finally:
        root.removeFilter(is_error)
        root.removeHandler(handler)


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
