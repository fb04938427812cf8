"""Processes that make shards side by side on one machine.

Sharding is a little Python around many short system calls: two threads of one process hinder each
other at it, two processes do not. A cluster's workers are processes already; there each makes its
shards by itself.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mmfeat.store.directory import write_failure
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage
from mmfeat.system import progress
from mmfeat.system.console import peak_memory_mb
from mmfeat.system.threads import end_with_parent
from pipelines.attempts import process_shard

WORTH_IT = 4000
"""Records from which on starting processes costs less than it saves."""


def warm_up() -> None:
    """Start the server that workers are forked from; it loads the library while others plan."""
    _context()
    from multiprocessing import forkserver

    forkserver.ensure_running()


def processes_for(stage: Stage, todo: Sequence[ShardTask], *, local: bool) -> int:
    """How many processes make the shards of a run."""
    if not local or stage.processes == 1 or len(todo) < 2:
        return 1
    if stage.processes == 0 and sum(task.records for task in todo) < WORTH_IT:
        return 1
    return min(stage.processes or os.cpu_count() or 1, len(todo))


class Workers:
    """A pool of processes, each with the stage loaded once.

    Args:
        stage: what to do.
        processes: how many there are.
    """

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage = stage
        self._pool = ProcessPoolExecutor(
            processes, _context(), initializer=_begin, initargs=(stage,)
        )
        self._made: dict[Future[tuple[bool, float]], ShardTask] = {}

    def submit(self, task: ShardTask) -> None:
        """Have a shard made."""
        self._made[self._pool.submit(_make, task)] = task

    def finished(self) -> Iterator[str]:
        """Names of the shards that were made, as they come; ends when all are, or the run stops."""
        try:
            for future in as_completed(self._made):
                task = self._made[future]
                made, peak = future.result()
                progress.WORKERS_PEAK.raise_to(peak)
                progress.RECORDS.add(task.records)
                if made:
                    yield task.shard
        except RunStoppedError:
            self._pool.shutdown(cancel_futures=True)
        except BrokenProcessPool:
            for future, task in self._made.items():
                if not future.done() or future.exception() is not None:
                    error = "a process that made shards was killed (out of memory?)"
                    write_failure(self._stage.output, task.shard, error)

    def close(self) -> None:
        """End the processes; shards that are being made are finished first."""
        self._pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mmfeat.sharding.stage", "pipelines.attempts"])
    return context


_here: dict[str, Any] = {}


def _begin(stage: Stage) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run's own process tells when to stop
    end_with_parent()  # a run that was killed leaves no one behind who works on
    _here.update(stage=stage, loaded=stage.load())


def _make(task: ShardTask) -> tuple[bool, float]:
    """Whether the shard was made, and the most memory this process has had so far."""
    return process_shard(_here["stage"], task, _here["loaded"]), peak_memory_mb()
