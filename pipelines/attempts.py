"""Make one shard, with retries. Worker processes load this module, so it does not import Beam."""

import errno
import logging
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from mmfeat.storage import ShardTakenError
from mmfeat.store import RunStoppedError, ShardTask, Stage, clear_failure, write_failure
from mmfeat.system import console, explain_os_error, is_storage_error

ATTEMPTS = 3
"""Attempts at a shard when storage fails, with growing pauses between them."""

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors that all further shards would have, too."""

_log = logging.getLogger("mmfeat")


def process_shard(stage: Stage, task: ShardTask, loaded: Any) -> bool:
    """Make one shard and return whether it was made.

    Errors of storage are retried. Any other error, or the last one, is recorded in the store, and
    the run continues with the next shard. The next run makes the failed shard.

    Args:
        stage: the stage.
        task: the shard.
        loaded: what `stage.load` returned.

    Raises:
        RunStoppedError: no further shard must be started, for example because the disk is full.
    """
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=10),
        retry=retry_if_exception(_is_temporary),
        reraise=True,
    )
    try:
        retrying(stage.process, task, loaded)
        if not task.fresh:
            retrying(clear_failure, stage.output, task.shard)
    except RunStoppedError as error:
        record_failure(stage, task, str(error))
        raise
    except ShardTakenError as error:  # no failure: the other run may have made it by now
        console.print_err(f"{stage.name}: {error}")
        return False
    except Exception as error:
        if not isinstance(error, OSError):
            record_failure(stage, task, f"{type(error).__name__}: {error}")
            return False
        explained = explain_os_error(error)
        record_failure(stage, task, str(explained))
        if error.errno in _DISK_ERRORS:
            raise RunStoppedError(explained.rule, cure=explained.cure) from error
        return False
    return True


def _is_temporary(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    return is_storage_error(error) and number not in _DISK_ERRORS | {errno.EFBIG}


def record_failure(stage: Stage, task: ShardTask, error: str) -> None:
    """Log the current exception and write its message to the store, or else print it.

    Args:
        stage: the stage.
        task: the shard.
        error: the message.
    """
    _log.debug("%s: shard %s failed", stage.name, task.shard, exc_info=True)
    try:
        write_failure(stage.output, task.shard, error)
    except OSError:
        console.print_err(f"{stage.name}: shard {task.shard}: {error}")
