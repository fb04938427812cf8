"""Running a stage from its main: plan, pipeline, progress, summary."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from mmfeat.errors import MmfeatError
from mmfeat.store.directory import exclusive
from mmfeat.store.stage import ShardTask, Stage
from mmfeat.system import console, progress
from pipelines.beam_options import is_local, make_pipeline
from pipelines.beam_stage import FinishStore, ProcessShards
from pipelines.worker_pool import processes_for


def run(stage: Stage, beam_flags: Sequence[str] = ()) -> dict[str, Any]:
    """Make all shards of a stage that are not there yet, and its manifest; returns that.

    Args:
        stage: what to do.
        beam_flags: flags for Apache Beam.

    Raises:
        MmfeatError: flags that Beam refuses, before anything is written; the input does not fit,
            nothing usable came out, or shards failed.
    """
    pipeline = make_pipeline(beam_flags)
    with exclusive(stage.output):
        return _run(stage, pipeline)


def _run(stage: Stage, pipeline: beam.Pipeline) -> dict[str, Any]:
    tasks = stage.plan()
    todo = [task for task in tasks if not task.done]
    manifest = stage.finished()
    if manifest and not todo:
        console.say(f"{stage.name}: nothing to do, {stage.output} is finished and has all records")
        _summarise(stage, manifest, {})
        return manifest
    done = len(tasks) - len(todo)
    if done:
        console.say(f"{stage.name}: goes on in {stage.output}, {done} of {len(tasks)} shards there")
    started = time.monotonic()
    if todo:
        _run_pipeline(pipeline, stage, tasks, todo)
    seconds = time.monotonic() - started
    shards = [task.shard for task in tasks]
    manifest = stage.finish(shards)
    stage.tidy(shards)
    records = sum(task.records for task in todo)
    _summarise(stage, manifest, _speed(manifest, records, seconds, len(todo), len(tasks)))
    return manifest


def _run_pipeline(
    pipeline: beam.Pipeline, stage: Stage, tasks: Sequence[ShardTask], todo: Sequence[ShardTask]
) -> None:
    processes = processes_for(stage, todo, local=is_local(pipeline))
    stage.processes = processes
    made = (
        pipeline | "Tasks" >> beam.Create(list(todo)) | "Shards" >> ProcessShards(stage, processes)
    )
    _ = made | "Manifest" >> FinishStore(stage, [task.shard for task in tasks])
    with _shown_progress(stage, todo):
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            logging.getLogger(__name__).debug("the pipeline failed", exc_info=True)
            raise MmfeatError(
                f"the {stage.name} pipeline failed: {last}",
                cure="What is committed stays; run the same command again",
            ) from error


class _shown_progress:  # noqa: N801 - reads as a verb in a with statement
    """Shows how many records are done while the block runs."""

    def __init__(self, stage: Stage, todo: Sequence[ShardTask]) -> None:
        self._stage = stage
        self._total = sum(task.records for task in todo)
        self._start = progress.RECORDS.value
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        with console.Bar(self._stage.name, self._total, "records") as bar:
            while not self._stop.wait(0.2):
                bar.at(int(progress.RECORDS.value - self._start))


def _speed(
    manifest: dict[str, Any], records: int, seconds: float, made: int, shards: int
) -> dict[str, Any]:
    share = made / max(shards, 1)
    megabytes = manifest["totals"]["bytes_read"] * share / 1e6
    return {
        "time": f"{seconds:.1f} s",
        "speed": f"{records / seconds:,.0f} samples/s, {megabytes / seconds:,.1f} MB/s read",
        "peak memory": _peak_memory(),
    }


def _peak_memory() -> str:
    worker = progress.WORKERS_PEAK.value
    workers = f", {worker:,.0f} MB (largest worker)" if worker else ""
    return f"{console.peak_memory_mb():,.0f} MB (this process){workers}"


def _summarise(stage: Stage, manifest: dict[str, Any], speed: dict[str, Any]) -> None:
    totals = manifest["totals"]
    facts: dict[str, Any] = {"in": totals["records"], "out": totals["out"]}
    partial = Counter(totals["problems"]) - Counter(totals["rejected"])
    facts["partial (out, and lack a part)"] = partial.total()
    facts |= {f"  {reason}": number for reason, number in partial.items()}
    facts["rejected"] = totals["records"] - totals["out"]
    facts |= {f"  {reason} ": number for reason, number in totals["rejected"].items()}
    facts["shards"] = len(manifest["shards"])
    facts |= stage.facts(manifest)
    console.show_summary(f"{stage.name} → {stage.output}", {**facts, **speed})
