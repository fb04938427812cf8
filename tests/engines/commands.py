"""Run programs with a bounded wait, and leave no process behind."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

COMMAND_SECONDS = 400.0
"""Time that a command has. A run on an engine takes less on a machine with two cores."""


class TimeIsOverError(Exception):
    """The time of the whole comparison is over. The text is the reason to leave out the rest."""


class Clock:
    """The time that is left.

    Args:
        minutes: all of it.
    """

    def __init__(self, minutes: float) -> None:
        self._minutes, self._end = minutes, time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeIsOverError: there are none.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeIsOverError(f"the {self._minutes:g} minutes of this comparison are over")
        return seconds


def run_mmfeat(log: Path, clock: Clock, *arguments: object) -> None:
    """Run a command of mmfeat.

    Args:
        log: file that gets what it prints.
        clock: the time that is left.
        arguments: command and arguments.

    Raises:
        RuntimeError: it has failed, or it has not ended in time.
        TimeIsOverError: no time is left.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    seconds = min(COMMAND_SECONDS, clock.left())
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmfeat", *map(str, arguments)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            if seconds < COMMAND_SECONDS:
                clock.left()
            raise RuntimeError(
                f"mmfeat {arguments[0]} has not ended in {seconds:.0f} s; see {log}"
            ) from None
        finally:
            end_family(process)
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RuntimeError(f"mmfeat {arguments[0]}: {lines[-1] if lines else code}")


def end_family(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it has started, unless it has ended."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.kill()
        process.wait()
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def keep_scratch(folder: Path) -> None:
    """Let all processes from now on use a folder for their temporary files."""
    folder.mkdir(parents=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
