"""The one transform behind every stage: paths in, receipts out, one shard at a time.

    Create(tasks) → Reshuffle → ParDo(make one shard) → finish once

Bytes never cross a step, so the graph costs nothing beside the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from mmfeat.errors import MmfeatError
from mmfeat.store.stage import RunStoppedError, ShardTask, Stage
from pipelines.attempts import process_shard
from pipelines.worker_pool import Workers


class _ProcessSideBySide(beam.DoFn):
    """Makes the shards of a bundle in several processes."""

    def __init__(self, stage: Stage, processes: int) -> None:
        self._stage, self._processes = stage, processes

    def start_bundle(self) -> None:
        self._workers = Workers(self._stage, self._processes)

    def process(self, task: ShardTask) -> None:
        self._workers.submit(task)

    def finish_bundle(self) -> Iterable[WindowedValue]:
        try:
            for shard in self._workers.finished():
                yield WindowedValue(shard, MIN_TIMESTAMP, [GlobalWindow()])
        finally:
            self._workers.close()


class _ProcessShard(beam.DoFn):
    """Makes shards one after the other."""

    def __init__(self, stage: Stage, shared: Shared) -> None:
        self._stage, self._shared = stage, shared

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: _Holder(self._stage.load()))

    def process(self, task: ShardTask) -> Iterable[str]:
        if self._loaded.stopped:
            return
        try:
            if process_shard(self._stage, task, self._loaded.content):
                yield task.shard
        except RunStoppedError:
            self._loaded.stopped = True


@dataclass
class _Holder:
    """What a process shares; `Shared` keeps a weak reference, which not every object allows."""

    content: Any
    stopped: bool = False


@dataclass
class ProcessShards(beam.PTransform):
    """Makes the shards of a stage: tasks in, names of the shards that were made out."""

    stage: Stage
    processes: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """One shard an element, spread over the workers."""
        make: beam.DoFn = _ProcessShard(self.stage, Shared())
        if self.processes > 1:
            make = _ProcessSideBySide(self.stage, self.processes)
        return tasks | "Spread" >> beam.Reshuffle() | "ProcessShard" >> beam.ParDo(make)


@dataclass
class FinishStore(beam.PTransform):
    """Writes the manifest once, after all shards: names of shards in, one count out.

    Where shards are missing it leaves the manifest out; whoever started the run says which.
    """

    stage: Stage
    shards: list[str]

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, made: beam.PCollection) -> beam.PCollection:
        """A lone element waits for all shards as its side input."""
        return (
            made.pipeline
            | "Once" >> beam.Create([self.shards])
            | "WriteManifest" >> beam.Map(_finish, self.stage, beam.pvalue.AsList(made))
        )


def _finish(shards: list[str], stage: Stage, made: list[str]) -> int:
    try:
        stage.finish(shards)
    except (MmfeatError, OSError):  # whoever started the run meets it again, and says so
        return 0
    return len(made)
