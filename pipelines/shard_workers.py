"""Make shards in several processes on this machine.

Sharding is a little Python between many short system calls. Two threads of one process slow each
other down; two processes do not. Workers of a cluster are processes already, so each of them makes
its shards alone.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mmfeat.store import RunStoppedError, ShardTask, Stage, write_failure
from mmfeat.system import peak_memory_mb, progress, start_fork_server, worker_pool
from pipelines.attempts import process_shard

MIN_RECORDS = 4000
"""With fewer records, starting processes takes longer than it saves."""

_PRELOAD = ("mmfeat.sharding.stage", "pipelines.attempts")


def warm_up() -> None:
    """Start the server that workers are forked from, so that it imports while the stage plans."""
    start_fork_server(_PRELOAD)


def choose_processes(stage: Stage, todo: Sequence[ShardTask], *, local: bool) -> int:
    """Return the number of processes for a run.

    Args:
        stage: the stage.
        todo: tasks of the run.
        local: whether the pipeline runs in this process.
    """
    if not local or stage.processes == 1 or len(todo) < 2:
        return 1
    if stage.processes == 0 and sum(task.records for task in todo) < MIN_RECORDS:
        return 1
    return min(stage.processes or os.cpu_count() or 1, len(todo))


class ShardWorkers:
    """A pool of processes, each with the stage loaded once.

    Args:
        stage: the stage.
        processes: number of processes.
    """

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage = stage
        self._pool = worker_pool(
            processes, preload=_PRELOAD, initializer=_load_stage, initargs=(stage,)
        )
        self._tasks: dict[Future[tuple[bool, float]], ShardTask] = {}

    def submit(self, task: ShardTask) -> None:
        """Add a shard to make."""
        self._tasks[self._pool.submit(_process_task, task)] = task

    def finished_shards(self) -> Iterator[str]:
        """Yield the names of shards as they are made, until all are done or the run stops."""
        try:
            for future in as_completed(self._tasks):
                task = self._tasks[future]
                made, peak = future.result()
                progress.WORKER_PEAK_MB.raise_to(peak)
                progress.RECORDS_DONE.add(task.records)
                if made:
                    yield task.shard
        except RunStoppedError:
            self._pool.shutdown(cancel_futures=True)
        except BrokenProcessPool:
            death = self._pool.worker_death()
            for future, task in self._tasks.items():
                if not future.done() or future.exception() is not None:
                    write_failure(self._stage.output, task.shard, death.reason)

    def close(self) -> None:
        """End the processes after their current shards."""
        self._pool.shutdown(cancel_futures=True)


_worker_state: dict[str, Any] = {}
"""In a worker process: the stage, and what it has loaded."""


def _load_stage(stage: Stage) -> None:
    _worker_state.update(stage=stage, loaded=stage.load())


def _process_task(task: ShardTask) -> tuple[bool, float]:
    """Return whether the shard was made, and the peak memory of this process in MB."""
    made = process_shard(_worker_state["stage"], task, _worker_state["loaded"])
    return made, peak_memory_mb()
