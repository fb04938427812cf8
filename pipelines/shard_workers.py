"""Make shards in several processes on this machine.

Sharding is a little Python between many short system calls. Two threads of one process slow each
other down; two processes do not. Workers of a cluster are processes already, so each of them makes
its shards alone.

The death of a worker costs only time. Its shard is made again by another worker, and alone after
that (see `isolation.py`).
"""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from itertools import islice

from mmfeat.store import RunStoppedError, ShardTask, Stage, leave_mark
from mmfeat.system import WorkerDiedError, WorkerStartError, print_err, progress
from pipelines.attempts import record_failure
from pipelines.isolation import IsolationError, make_isolated
from pipelines.worker import MadeShard, make_shard, stage_workers

_QUEUED = 8
"""Shards per process that wait for it or are made by it. A waiting one takes a few kilobytes."""

_ROUNDS = 2
"""Tries to make a shard beside other shards."""


def choose_processes(stage: Stage, todo: Sequence[ShardTask], *, local: bool) -> int:
    """Return the number of processes for a run.

    Args:
        stage: the stage.
        todo: tasks of the run.
        local: whether the pipeline runs in this process.
    """
    if not local or stage.max_processes == 1 or len(todo) < 2:
        return 1
    records = sum(task.records for task in todo)
    if stage.max_processes == 0 and records < stage.min_parallel_records:
        return 1
    return min(stage.max_processes or os.cpu_count() or 1, len(todo))


def make_in_workers(stage: Stage, tasks: Sequence[ShardTask], processes: int) -> Iterator[str]:
    """Make shards in worker processes. Yield the names of shards as they are made.

    It ends when all shards are made or have failed, or when the run must stop.

    Args:
        stage: the stage.
        tasks: the shards.
        processes: number of processes.
    """
    with closing(_ShardWorkers(stage, processes)) as workers:
        yield from workers.make(tasks)


class _ShardWorkers:
    """A pool of processes, each with the stage loaded once."""

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage, self._processes = stage, processes
        self._pool = stage_workers(stage, processes)
        self._left: dict[str, ShardTask] = {}
        self._futures: dict[Future[MadeShard], ShardTask] = {}

    def make(self, tasks: Sequence[ShardTask]) -> Iterator[str]:
        self._left = {task.shard: task for task in tasks}
        try:
            for _ in range(_ROUNDS):
                tasks = yield from self._make_together(tasks)
            if tasks:
                yield from self._make_alone(tasks)
        except RunStoppedError:
            self._pool.shutdown(cancel_futures=True)
        except WorkerStartError as error:
            self._pool.shutdown(cancel_futures=True)
            for future, task in self._futures.items():
                if not (future.cancelled() or future.exception()):
                    del self._left[task.shard]  # made since then
            for task in [*self._left.values()]:
                self._fail(task, error)

    def _make_together(self, tasks: Sequence[ShardTask]) -> Generator[str, None, list[ShardTask]]:
        """Make shards in parallel. Yield those that are made, return those whose worker died."""
        died, waiting = [], iter(tasks)
        self._submit(islice(waiting, _QUEUED * self._processes))
        while self._futures:
            ended, _ = wait(self._futures, return_when=FIRST_COMPLETED)
            for future in ended:
                task = self._futures.pop(future)
                try:
                    made = future.result()
                except WorkerDiedError as error:
                    print_err(f"{self._describe(task)}: {error}. It is made again")
                    died.append(task)
                else:
                    yield from self._end(task, made)
                self._submit(islice(waiting, 1))
        return died

    def _submit(self, tasks: Iterable[ShardTask]) -> None:
        for task in tasks:
            self._futures[self._pool.submit(make_shard, task)] = task

    def _make_alone(self, tasks: Sequence[ShardTask]) -> Iterator[str]:
        """Make shards whose workers have died, one after the other in one worker."""
        self._pool.shutdown()
        self._pool = stage_workers(self._stage, 1)
        for task in tasks:
            try:
                made, task = make_isolated(self._pool, task)
            except IsolationError as error:
                self._fail(task, error)
                continue
            if task.deadly:
                print_err(
                    f"{self._describe(task)}: {len(task.deadly)} of {task.records} records kill "
                    "the process that works on them; they are rejected as worker_died"
                )
            yield from self._end(task, made)

    def _end(self, task: ShardTask, made: MadeShard) -> Iterator[str]:
        progress.WORKER_PEAK_MB.raise_to(made.peak_mb)
        progress.METRICS.add(made.metrics)
        progress.RECORDS_DONE.add(task.records)
        del self._left[task.shard]
        if made.made:
            yield task.shard

    def _fail(self, task: ShardTask, error: Exception) -> None:
        """Record why a shard failed. The next run makes it in a process of its own again."""
        del self._left[task.shard]
        record_failure(self._stage, task, str(error))
        leave_mark(self._stage.output, task.shard)

    def _describe(self, task: ShardTask) -> str:
        return f"mmfeat {self._stage.name}: shard {task.shard}"

    def close(self) -> None:
        """End the processes after their current shards."""
        self._pool.shutdown(cancel_futures=True)
