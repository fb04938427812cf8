"""Worker processes: each loads the stage once, then makes shards. They do not import Beam."""

from contextlib import suppress
from itertools import cycle, islice
from typing import Any, NamedTuple

from mmfeat.store import ShardTask, Stage
from mmfeat.system import WorkerPool, peak_memory_mb, progress, start_fork_server, worker_pool
from pipelines.attempts import process_shard

_state: dict[str, Any] = {}
"""In a worker process: the stage, and what it has loaded."""


def warm_up() -> None:
    """Start the server of the sharding workers, so that it imports while the stage plans."""
    start_fork_server(["mmfeat.sharding.stage", __name__])


def stage_workers(stage: Stage, processes: int) -> WorkerPool:
    """Return a pool of processes. Each loads the stage once, on a device of its own if there are
    several.
    """
    return worker_pool(
        processes,
        preload=[*stage.worker_modules, __name__],
        initializer=_load_stage,
        initargs=(stage,),
        worker_initargs=[(device,) for device in islice(cycle(stage.worker_devices), processes)],
    )


def _load_stage(stage: Stage, device: str = "") -> None:
    if device:
        stage.use_device(device)
    _state.update(stage=stage, loaded=stage.load())


class MadeShard(NamedTuple):
    """What a worker process returns for a shard.

    Attributes:
        made: whether the shard was made.
        peak_mb: peak memory of the process.
        metrics: what the process has done for it; see `mmfeat.system.progress.METRICS`.
    """

    made: bool
    peak_mb: float
    metrics: dict[str, float]


def make_shard(task: ShardTask) -> MadeShard:
    """Make a shard in a worker process."""
    made = process_shard(_state["stage"], task, _state["loaded"])
    return MadeShard(made, peak_memory_mb(), progress.METRICS.take())


def try_records(task: ShardTask, rows: range) -> None:
    """Do the work on some records of a shard, and write nothing. Errors are ignored: only the death
    of the process counts.

    Args:
        task: the shard.
        rows: the records.
    """
    with suppress(Exception):
        _state["stage"].try_records(task, rows, _state["loaded"])
