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

_SECONDS_BETWEEN_LINES = 10.0


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
    """A progress bar on a terminal; elsewhere, a line every 10 seconds.

    Args:
        label: text before the bar.
        total: number of units.
        unit: name of a unit, in the plural.
    """

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._last_line = time.monotonic()
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeRemainingColumn(),
                console=make_console(stderr=True),
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

    def advance(self, number: int) -> None:
        """Add to the units that are done."""
        self.update(self._done + number)

    def update(self, done: int) -> None:
        """Set how many units are done. The bar never moves back."""
        self._done = max(self._done, done)
        if self._progress:
            self._progress.update(self._task, completed=self._done)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print_err(f"{self._label}: {self._done:,} of {self._total:,} {self._unit}")
