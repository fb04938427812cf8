"""What a person sees: lines, tables, and a bar on a terminal or plain lines elsewhere.

Results go to standard output; progress and notes go to standard error, so that a pipe gets
results alone.
"""

import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_PLAIN_WIDTH = 120
_PLAIN_EVERY_SECONDS = 10.0


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """A line of result on standard output."""
    _console(stderr=False).print(text, soft_wrap=True)


def note(text: str) -> None:
    """A line beside the result, on standard error."""
    _console(stderr=True).print(text, soft_wrap=True)


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, stderr: bool = False
) -> None:
    """A table; numbers stand right."""
    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _console(stderr).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def show_summary(title: str, facts: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """A stage's closing table: one fact a line; as pairs where a name may come twice."""
    pairs = facts.items() if isinstance(facts, Mapping) else facts
    show_table(title, ["", ""], [(name, _cell(value)) for name, value in pairs])


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, in MB (10^6 bytes).

    Where Linux tells it, from /proc: what getrusage tells is never less than what the process had
    that this one was forked from.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
        return int(status.partition(b"VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


class Bar:
    """Progress over a known number of things: a bar on a terminal, a line every 10 s elsewhere."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._said = time.monotonic()
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeRemainingColumn(),
                console=_console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task(self._label, total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress:
            self._progress.stop()

    def at(self, done: int) -> None:
        """Say how much is done by now."""
        self._done = max(self._done, done)
        if self._progress:
            self._progress.update(self._task, completed=self._done)
        elif time.monotonic() - self._said >= _PLAIN_EVERY_SECONDS:
            self._said = time.monotonic()
            note(f"{self._label}: {self._done:,} of {self._total:,} {self._unit}")
