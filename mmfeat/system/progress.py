"""Progress of a run: counters and timers that stages increase, and the progress bar."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmfeat.system.console import make_console, print_err

_SECONDS_BEFORE_FIRST_LINE = 2.0
_SECONDS_BETWEEN_LINES = 10.0

_MIN_SPEED = 2.0
"""Units per second from which the speed is shown."""


class SharedCounter:
    """A number that several threads may change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value: float = 0

    def add(self, number: float) -> None:
        """Add to the value."""
        with self._lock:
            self.value += number

    def raise_to(self, number: float) -> None:
        """Set the value to the number if the number is larger."""
        with self._lock:
            self.value = max(self.value, number)


RECORDS_DONE = SharedCounter()
"""Records that the stages of this process have done."""

WORKER_PEAK_MB = SharedCounter()
"""Largest peak memory of a worker process of this process, in MB."""


class RunMetrics:
    """Numbers of a run by name, such as `records` and `decode_seconds`. Threads may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, float] = {}

    def add(self, numbers: Mapping[str, float]) -> None:
        """Add to the totals: name → number."""
        with self._lock:
            for name, number in numbers.items():
                self._totals[name] = self._totals.get(name, 0) + number

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the duration of the block to `STEP_seconds`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({f"{step}_seconds": time.perf_counter() - start})

    def take(self) -> dict[str, float]:
        """Return the totals and start again from zero."""
        with self._lock:
            totals, self._totals = self._totals, {}
        return totals


METRICS = RunMetrics()
"""What the stages of this process have done since the last `take`. `pipelines` reports it to Beam.
Seconds add up over threads."""


class ProgressBar:
    """A progress bar on a terminal; elsewhere, a line after 2 seconds, then every 10 seconds.

    Args:
        label: text before the bar.
        total: number of units.
        unit: name of a unit, in the plural.
    """

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._detail = 0, ""
        self._start = self._last_update = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=make_console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        self._start = self._last_update = time.monotonic()
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task(
                self._label, total=self._total, detail=self._unit, speed=""
            )
        else:
            self._thread = threading.Thread(target=self._print_lines, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._progress:
            self._progress.stop()
        if self._thread:
            self._thread.join()

    def advance(self, number: int) -> None:
        """Add to the units that are done."""
        self.update(self._done + number)

    def update(self, done: int, detail: str = "") -> None:
        """Set how many units are done. The bar never moves back.

        Args:
            done: number of units.
            detail: what is being done; empty = as before.
        """
        if done > self._done:
            self._done, self._last_update = done, time.monotonic()
        self._detail = detail or self._detail
        if self._progress:
            detail = f"{self._unit}: {self._detail}" if self._detail else self._unit
            self._progress.update(
                self._task, completed=self._done, detail=detail, speed=self._speed_text()
            )

    def _print_lines(self) -> None:
        """Print a line from time to time, also if nothing is updated."""
        seconds = _SECONDS_BEFORE_FIRST_LINE
        while not self._ended.wait(seconds):
            seconds = _SECONDS_BETWEEN_LINES
            print_err(self.line())

    def line(self) -> str:
        """Return the progress as a line of text.

        The time left is estimated when a unit is done, and counts down until the next one; a unit
        that takes longer than estimated leaves no estimate.
        """
        parts = [f"{self._done:,} of {self._total:,} {self._unit}", self._speed_text()]
        if 0 < self._done < self._total:
            per_unit = (self._last_update - self._start) / self._done
            left = per_unit * (self._total - self._done) + self._last_update - time.monotonic()
            if left > 0:
                parts.append(f"{format_seconds(left)} left")
        return f"{self._label}: {', '.join(filter(None, [*parts, self._detail]))}"

    def _speed_text(self) -> str:
        """Return the speed since the start; empty if a unit takes long."""
        speed = self._done / max(time.monotonic() - self._start, 1e-9)
        unit = self._unit.split()[0]  # `epochs` of `epochs at most`
        return f"{speed:,.0f} {unit}/s" if speed >= _MIN_SPEED else ""


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Print a line if the block takes more than 2 seconds, so that no wait is silent.

    Args:
        what: what is being done: `reading the features`.
    """
    timer = threading.Timer(_SECONDS_BEFORE_FIRST_LINE, print_err, [f"{what} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def format_seconds(seconds: float) -> str:
    """Return a duration for people: `12 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
