"""One shard made, however often it takes. Beam stays out: worker processes load this alone."""

import errno
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from mmfeat.store.directory import clear_failure, write_failure
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage
from mmfeat.system import console

ATTEMPTS = 3
"""Tries at a shard whose storage fails, with growing pauses between them."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Trouble that every further shard would meet as well."""


def process_shard(stage: Stage, task: ShardTask, loaded: Any) -> bool:
    """Make one shard; returns whether it was made. One bad shard never ends a run.

    A `RunStoppedError` tells of no bad shard: the caller is to leave the rest alone.

    Trouble with storage is tried again; what remains is written down in a failure receipt, and
    the next run makes just that shard. A full disk stops the run.
    """
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=10),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    try:
        attempts(stage.process, task, loaded)
        attempts(clear_failure, stage.output, task.shard)
    except RunStoppedError as error:
        _tell(stage, task, str(error))
        raise
    except Exception as error:
        _tell(stage, task, f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) and error.errno in _FULL:
            raise RunStoppedError(str(error)) from error
        return False
    return True


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno not in _FULL | {errno.EFBIG}


def _tell(stage: Stage, task: ShardTask, error: str) -> None:
    """Write down why a shard failed; where not even that is possible, say it."""
    try:
        write_failure(stage.output, task.shard, error)
    except OSError:
        console.note(f"{stage.name}: shard {task.shard}: {error}")
