"""Make a shard whose worker has died: find the records that kill it, and leave them out.

The shard runs alone, so that it has the memory of the machine and no other shard suffers. If its
worker dies again and again, the records are tried in parts, and the parts that kill their worker
are divided further. A record is left out if it kills its worker twice on its own.
"""

from dataclasses import replace

from mmfeat.errors import MmfeatError
from mmfeat.store import ShardTask
from mmfeat.system import WorkerDiedError, WorkerPool
from pipelines.worker import MadeShard, make_shard, try_records

TRIES = 2
"""Tries to make a shard alone before its records are tried."""

MAX_DEATHS = 64
"""Workers that may die in search of the records of one shard."""

_PARTS = 8
"""Parts of a range that kills its worker. Each death costs a start of a worker, which may load an
encoder: with 8 parts a record among 1,000 is found after 6 deaths, with halves after 12."""


class IsolationError(MmfeatError):
    """The worker of a shard dies, and no record is found to be the cause."""


def make_isolated(pool: WorkerPool, task: ShardTask) -> tuple[MadeShard, ShardTask]:
    """Make a shard alone. Records that kill their worker are rejected as `worker_died`.

    Args:
        pool: a pool of one worker without other tasks.
        task: the shard.

    Returns:
        What the worker returned, and the task with the records that were left out.

    Raises:
        IsolationError: the shard cannot be made, and no record is found to be the cause.
        WorkerStartError: no worker can start.
    """
    for _ in range(TRIES):
        try:
            return pool.submit(make_shard, task).result(), task
        except WorkerDiedError:
            pass
    task = replace(task, deadly=_Search(pool, task).find_deadly())
    try:
        return pool.submit(make_shard, task).result(), task
    except WorkerDiedError as error:
        raise IsolationError(f"{error}, and no record of the shard kills it alone") from error


class _Search:
    """The search for the records of a shard that kill their worker."""

    def __init__(self, pool: WorkerPool, task: ShardTask) -> None:
        self._pool, self._task = pool, task
        self._deaths = 0

    def find_deadly(self) -> dict[int, str]:
        """Return the records: row → why the worker died.

        Raises:
            IsolationError: the worker dies without a record, or too often.
        """
        if all(self._try(range(0)) for _ in range(TRIES)):
            raise IsolationError("a worker process ends when it opens the shard")
        return self._find_in(range(self._task.records))

    def _find_in(self, rows: range) -> dict[int, str]:
        reason = self._try(rows)
        if reason is None:
            return {}
        if len(rows) == 1:
            reason = self._try(rows)
            return {} if reason is None else {rows[0]: reason}
        size = -(-len(rows) // _PARTS)
        deadly: dict[int, str] = {}
        for start in range(0, len(rows), size):
            deadly |= self._find_in(rows[start : start + size])
        return deadly

    def _try(self, rows: range) -> str | None:
        """Return why the worker died of the records, or None if it did not."""
        try:
            self._pool.submit(try_records, self._task, rows).result()
        except WorkerDiedError as error:
            self._deaths += 1
            if self._deaths > MAX_DEATHS:
                raise IsolationError(f"{error}, {MAX_DEATHS} times in one shard") from error
            return str(error)
        return None
