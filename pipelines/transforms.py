"""The Beam transforms of every stage: shard tasks in, names of finished shards out.

    Create(tasks) → Reshuffle → ParDo(process one shard) → write the manifest once

Only tasks and names pass between the transforms. The data of a shard stays in one worker.
"""

import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from mmfeat.errors import MmfeatError
from mmfeat.store import RunStoppedError, ShardTask, Stage, end_shard, start_shard
from pipelines.attempts import process_shard
from pipelines.monitoring import StageMetrics
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
    """Makes one shard per element, in this process unless the shard has killed one before.

    If the stage can make several shards at the same time, the next ones start before a shard ends.
    """

    def __init__(self, stage: Stage, shared: Shared) -> None:
        self._stage, self._shared = stage, shared
        self._metrics = StageMetrics(stage.name)

    def setup(self) -> None:
        self._state = self._shared.acquire(lambda: _ProcessState(self._stage.load()))
        self._parallel = self._stage.parallel_shards(self._state.loaded)
        self._pool = ThreadPoolExecutor(self._parallel)
        self._waiting: deque[Future[list[str]]] = deque()

    def process(self, task: ShardTask) -> Iterable[str]:
        if self._parallel == 1:
            yield from self._metrics.count(self._make(task))
            return
        self._waiting.append(self._pool.submit(self._make, task))
        while len(self._waiting) > self._parallel:
            yield from self._metrics.count(self._waiting.popleft().result())

    def finish_bundle(self) -> Iterable[WindowedValue]:
        while self._waiting:
            for shard in self._metrics.count(self._waiting.popleft().result()):
                yield WindowedValue(shard, MIN_TIMESTAMP, [GlobalWindow()])

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _make(self, task: ShardTask) -> list[str]:
        """Make a shard and return its name, or nothing if it failed."""
        if self._state.stopped:
            return []
        output, made = self._stage.output, False
        if not start_shard(output, task.shard):
            task = replace(task, fresh=False)
            if self._stage.is_made(task):
                return [task.shard]
            return list(make_in_workers(self._stage, [task], processes=1))
        try:
            made = process_shard(self._stage, task, self._state.loaded)
        except RunStoppedError:
            self._state.stopped = True
        finally:
            end_shard(output, task.shard, made=made)
        return [task.shard] if made else []


@dataclass
class _ProcessState:
    """What the tasks of a process share. `Shared` needs an object that allows weak references."""

    loaded: Any
    stopped: bool = False


class _ProcessShards(beam.DoFn):
    """Makes the shards of a bundle in processes of its own."""

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage, self._processes = stage, processes
        self._metrics = StageMetrics(stage.name)

    def start_bundle(self) -> None:
        self._tasks: list[ShardTask] = []

    def process(self, task: ShardTask) -> None:
        self._tasks.append(task)

    def finish_bundle(self) -> Iterable[WindowedValue]:
        shards = make_in_workers(self._stage, self._tasks, self._processes)
        for shard in self._metrics.count(shards):
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
