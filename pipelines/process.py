"""The one transform behind every stage: paths in, receipts out, one shard at a time.

    Create(tasks) → Reshuffle → ParDo(make one shard) → finish once

Bytes never cross a step, so the graph costs nothing beside the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from mmfeat import store
from mmfeat.errors import MmfeatError
from mmfeat.stage import ShardTask, Stage

ATTEMPTS = 3
"""Tries at a shard whose storage fails, with growing pauses between them."""


def process_shard(stage: Stage, task: ShardTask, loaded: Any) -> bool:
    """Make one shard; returns whether it was made. One bad shard never ends a run.

    Trouble with storage is tried again; what remains is written down in a failure receipt, and
    the next run makes just that shard.
    """
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=10),
        retry=retry_if_exception_type(OSError),
        reraise=True,
    )
    try:
        attempts(stage.process, task, loaded)
    except Exception as error:
        store.write_failure(stage.output, task.shard, f"{type(error).__name__}: {error}")
        return False
    store.clear_failure(stage.output, task.shard)
    return True


class _ProcessShard(beam.DoFn):
    def __init__(self, stage: Stage, shared: Shared) -> None:
        self._stage, self._shared = stage, shared

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: _Holder(self._stage.load()))

    def process(self, task: ShardTask) -> Iterable[str]:
        if process_shard(self._stage, task, self._loaded.content):
            yield task.shard


@dataclass
class _Holder:
    """`Shared` keeps a weak reference, which not every object allows."""

    content: Any


@dataclass
class ProcessShards(beam.PTransform):
    """Makes the shards of a stage: tasks in, names of the shards that were made out."""

    stage: Stage

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """One shard an element, spread over the workers."""
        return (
            tasks
            | "Spread" >> beam.Reshuffle()
            | "ProcessShard" >> beam.ParDo(_ProcessShard(self.stage, Shared()))
        )


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
    except MmfeatError:
        return 0
    return len(made)
