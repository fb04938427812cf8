"""The Beam transforms of every stage: shard tasks in, names of finished shards out.

    Create(tasks) → Reshuffle → ParDo(process one shard) → write the manifest once

Only tasks and names pass between the transforms. The data of a shard stays in one worker.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from mmfeat.errors import MmfeatError
from mmfeat.store import RunStoppedError, ShardTask, Stage, is_unfinished, mark_unfinished
from pipelines.attempts import process_shard
from pipelines.shard_workers import make_in_workers

_log = logging.getLogger("mmfeat")


@dataclass
class ProcessShards(beam.PTransform):
    """Makes the shards of a stage. Tasks in, names of finished shards out.

    Args:
        stage: the stage.
        processes: processes that each worker of the runner starts to make its shards.
        in_runner: whether the workers of the runner make the shards themselves instead.
    """

    stage: Stage
    processes: int = 1
    in_runner: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """Spread the tasks over the workers and process them."""
        do_fn: beam.DoFn = _ProcessShards(self.stage, self.processes)
        if self.in_runner:
            do_fn = _ProcessShard(self.stage, Shared())
        return tasks | "Spread" >> beam.Reshuffle() | "ProcessShard" >> beam.ParDo(do_fn)


class _ProcessShard(beam.DoFn):
    """Makes one shard per element, in this process unless the shard has killed one before."""

    def __init__(self, stage: Stage, shared: Shared) -> None:
        self._stage, self._shared = stage, shared

    def setup(self) -> None:
        self._state = self._shared.acquire(lambda: _ProcessState(self._stage.load()))

    def process(self, task: ShardTask) -> Iterable[str]:
        if self._state.stopped:
            return
        if is_unfinished(self._stage.output, task.shard):
            yield from make_in_workers(self._stage, [task], processes=1)
            return
        try:
            with mark_unfinished(self._stage.output, task.shard):
                made = process_shard(self._stage, task, self._state.loaded)
            if made:
                yield task.shard
        except RunStoppedError:
            self._state.stopped = True


@dataclass
class _ProcessState:
    """What the tasks of a process share. `Shared` needs an object that allows weak references."""

    loaded: Any
    stopped: bool = False


class _ProcessShards(beam.DoFn):
    """Makes the shards of a bundle in processes of its own."""

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage, self._processes = stage, processes

    def start_bundle(self) -> None:
        self._tasks: list[ShardTask] = []

    def process(self, task: ShardTask) -> None:
        self._tasks.append(task)

    def finish_bundle(self) -> Iterable[WindowedValue]:
        for shard in make_in_workers(self._stage, self._tasks, self._processes):
            yield WindowedValue(shard, MIN_TIMESTAMP, [GlobalWindow()])


@dataclass
class FinishStore(beam.PTransform):
    """Writes the manifest once, after all shards. Names of shards in, their number out.

    If shards are missing, it writes no manifest. `run_stage` then reports the missing shards.

    Args:
        stage: the stage.
        shards: names of all shards of the store.
    """

    stage: Stage
    shards: list[str]

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, finished_shards: beam.PCollection) -> beam.PCollection:
        """Process one element, which has all finished shards as its side input."""
        return (
            finished_shards.pipeline
            | "Once" >> beam.Create([self.shards])
            | "WriteManifest" >> beam.Map(_finish, self.stage, beam.pvalue.AsList(finished_shards))
        )


def _finish(shards: list[str], stage: Stage, finished_shards: list[str]) -> int:
    try:
        stage.finish(shards)
    except (MmfeatError, OSError):  # `run_stage` gets the same error again and reports it
        _log.debug("%s: no manifest", stage.name, exc_info=True)
        return 0
    return len(finished_shards)
