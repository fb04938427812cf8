"""The Beam transforms of every stage: shard tasks in, names of finished shards out.

    Create(file of tasks) → read it → Reshuffle, if there are several workers
        → ParDo(process one shard)

Only tasks and names pass between the transforms. The data of a shard stays in one worker. The size
of the pipeline does not depend on the number of shards: runners have limits, and copy it often.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from mmfeat.storage import files
from mmfeat.store import RunStoppedError, ShardTask, Stage, end_shard, start_shard
from pipelines.attempts import process_shard
from pipelines.monitoring import StageMetrics
from pipelines.shard_workers import make_in_workers


def write_tasks(path: str, tasks: Iterable[ShardTask]) -> None:
    """Write tasks to a file, one JSON object per line."""
    encode = msgspec.json.Encoder().encode
    with files.create(path) as output:
        for task in tasks:
            output.write(encode(task) + b"\n")


def read_tasks(path: str) -> Iterator[ShardTask]:
    """Read the tasks of a file of `write_tasks`."""
    decode = msgspec.json.Decoder(ShardTask).decode
    with files.open_input(path) as file:
        yield from map(decode, file)


class ReadTasks(beam.PTransform):
    """Reads the tasks of a stage.

    Args:
        path: the file, which all workers can read.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Read the file in one worker; tasks are small."""
        path = os.fsencode(self._path)  # Beam encodes texts as UTF-8, and a path may be none
        return begin | beam.Create([path]) | "ReadTasks" >> beam.FlatMap(_read_encoded)


def _read_encoded(path: bytes) -> Iterator[ShardTask]:
    return read_tasks(os.fsdecode(path))


@dataclass
class ProcessShards(beam.PTransform):
    """Makes the shards of a stage. Tasks in, names of finished shards out.

    Args:
        stage: the stage.
        processes: processes that each worker of the runner starts to make its shards.
        in_runner: whether the workers of the runner make the shards themselves instead.
        spread: whether the runner has several workers. If it has one, the tasks go from step to
            step one by one: a runner keeps those that it spreads, some kilobytes each.
    """

    stage: Stage
    processes: int = 1
    in_runner: bool = True
    spread: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """Spread the tasks over the workers and process them."""
        do_fn: beam.DoFn = _ProcessShards(self.stage, self.processes)
        if self.in_runner:
            do_fn = _ProcessShard(self.stage, Shared())
        if self.spread:
            tasks = tasks | "Spread" >> beam.Reshuffle()
        return tasks | "ProcessShard" >> beam.ParDo(do_fn)


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
