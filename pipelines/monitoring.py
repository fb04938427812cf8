"""Watch a run: Beam metrics of its shards, and the progress bar."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from apache_beam.metrics import Metrics

from mmfeat.storage import files
from mmfeat.store import ShardTask, Stage
from mmfeat.system import progress

_SECONDS = "_seconds"
_RECEIPT = "_stats.json"

_REFRESH_SECONDS = 0.2
_LISTING_SECONDS = 3.0
"""Least time between two listings of receipts."""

_LISTING_SHARE = 0.05
"""Largest share of the time that is spent on listings."""


class StageMetrics:
    """Reports `mmfeat.system.progress.METRICS` to Beam, in the namespace `mmfeat.STAGE`.

    Numbers become counters, and seconds become distributions of milliseconds per shard:
    `decode_seconds` becomes `decode_ms`. Beam takes metrics in the thread that runs the bundle
    only, so workers collect them and this thread reports them.

    Args:
        stage: name of the stage.
    """

    def __init__(self, stage: str) -> None:
        self._namespace = f"mmfeat.{stage}"

    def count(self, shards: Iterable[str]) -> Iterator[str]:
        """Yield the names of shards that were made, and report what was done since the last one."""
        for shard in shards:
            Metrics.counter(self._namespace, "shards").inc()
            self._report()
            yield shard
        self._report()

    def _report(self) -> None:
        for name, number in progress.METRICS.take().items():
            if name.endswith(_SECONDS):
                name = f"{name.removesuffix(_SECONDS)}_ms"
                Metrics.distribution(self._namespace, name).update(round(number * 1000))
            elif number:
                Metrics.counter(self._namespace, name).inc(int(number))


@contextmanager
def progress_bar(stage: Stage, todo: Sequence[ShardTask], *, remote: bool) -> Iterator[None]:
    """Show how many records are done while the block runs.

    Args:
        stage: the stage.
        todo: the shards to make.
        remote: whether the workers are other processes, which do not count in this one. Then the
            records of the shards with a receipt count.
    """
    start, stop = progress.RECORDS_DONE.value, threading.Event()
    count: Callable[[], int] = lambda: int(progress.RECORDS_DONE.value - start)  # noqa: E731
    if remote:
        count = _ReceiptCounter(stage.receipts_folder, todo)

    def show() -> None:
        total = sum(task.records for task in todo)
        with progress.ProgressBar(stage.name, total, "records") as bar:
            while not stop.wait(_REFRESH_SECONDS):
                bar.update(count())

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class _ReceiptCounter:
    """Counts the records of the shards that have got a receipt.

    A listing takes long in a large store or an object store, so the pauses grow with it.
    """

    def __init__(self, folder: str, todo: Iterable[ShardTask]) -> None:
        self._folder = folder
        self._records = {f"{task.shard}{_RECEIPT}": task.records for task in todo}
        self._old = {name for name in self._list() if name in self._records}  # not valid any more
        self._done, self._next = 0, time.monotonic() + _LISTING_SECONDS

    def __call__(self) -> int:
        start = time.monotonic()
        if start >= self._next:
            with suppress(OSError):
                new = self._records.keys() & set(self._list())
                self._done = sum(self._records[name] for name in new - self._old)
            end = time.monotonic()
            self._next = end + max(_LISTING_SECONDS, (end - start) / _LISTING_SHARE)
        return self._done

    def _list(self) -> list[str]:
        return files.list_names(self._folder)
