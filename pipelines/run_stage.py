"""Run a stage: plan, pipeline, progress, summary."""

import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions

from mmfeat.config import flag_names
from mmfeat.errors import MmfeatError
from mmfeat.storage import files, local_disk, lock_directory
from mmfeat.store import ShardTask, Stage, has_unfinished
from mmfeat.system import console, peak_memory_mb, progress, waiting_for
from pipelines.engines import (
    beam_options,
    check_engine,
    explain_failure,
    has_remote_workers,
    is_local,
    make_pipeline,
)
from pipelines.finished_stage import print_nothing_to_do, print_summary
from pipelines.monitoring import progress_bar
from pipelines.notebook import plain_labels
from pipelines.shard_workers import choose_processes
from pipelines.transforms import ProcessShards, ReadTasks, write_tasks

_log = logging.getLogger("mmfeat")

_BEAM_LOGGERS = ("apache_beam.runners.common", "apache_beam.runners.worker.sdk_worker")


def run_stage(stage: Stage, beam_flags: Sequence[str] = ()) -> dict[str, Any]:
    """Make the missing shards of a stage and its manifest, and print a summary.

    Args:
        stage: the stage.
        beam_flags: flags of Apache Beam.

    Returns:
        The manifest.

    Raises:
        MmfeatError: Beam refuses its flags or the engine cannot run a pipeline (both before
            anything is read or written), the input cannot be used, no record is usable, or shards
            failed.
    """
    options = beam_options(beam_flags, flag_names(type(stage.config)))
    check_engine(options)
    pipeline = make_pipeline(options)
    try:
        with ExitStack() as stack:
            for folder in stage.outputs:
                stack.enter_context(lock_directory(folder))
            stack.enter_context(plain_labels())
            return _run_locked(stage, pipeline)
    finally:
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)  # Beam's, if nothing was to do


def _run_locked(stage: Stage, pipeline: beam.Pipeline) -> dict[str, Any]:
    with waiting_for(f"{stage.name}: planning"):
        tasks = stage.plan()
    todo = [task for task in tasks if not task.done]
    if not todo and (manifest := stage.finished_manifest()):
        print_nothing_to_do(stage, manifest)
        return manifest
    done = len(tasks) - len(todo)
    if done:
        console.print_out(
            f"{stage.name}: continues in {stage.output}, {done} of {len(tasks)} shards are done"
        )
    start = time.monotonic()
    if todo:
        _run_pipeline(pipeline, stage, todo)
    seconds = time.monotonic() - start
    shards = [task.shard for task in tasks]
    with waiting_for(f"{stage.name}: checking all shards"):
        manifest = stage.finish(shards)
    stage.clean_up(shards)
    records = sum(task.records for task in todo)
    share = len(todo) / max(len(tasks), 1)
    megabytes = manifest["totals"]["bytes_read"] * share / 1e6
    speed = {
        "time": f"{seconds:.1f} s",
        "speed": f"{records / seconds:,.0f} samples/s, {megabytes / seconds:,.1f} MB/s read",
        "peak memory": _format_peak_memory(),
    }
    print_summary(stage, manifest, speed)
    return manifest


def _run_pipeline(pipeline: beam.Pipeline, stage: Stage, todo: Sequence[ShardTask]) -> None:
    remote = not is_local(pipeline.options) and has_remote_workers(pipeline.options)
    stage.processes = choose_processes(stage, todo, local=is_local(pipeline.options))
    in_runner = stage.processes == 1 and not stage.expects_deaths
    if has_unfinished(stage.output):
        in_runner = False
        console.print_err(
            f"mmfeat {stage.name}: the last run ended within a shard. In case a record was the "
            "cause, shards are made in processes of their own"
        )
    if not in_runner:
        stage.release()
    workers = pipeline.options.view_as(DirectOptions).direct_num_workers
    spread = not is_local(pipeline.options) or (in_runner and workers != 1)
    path = local_disk.temporary_path(stage.output, "tasks")
    _ = (
        pipeline
        | "Tasks" >> ReadTasks(path)
        | "Shards" >> ProcessShards(stage, stage.processes, in_runner, spread=spread)
    )
    if not _log.isEnabledFor(logging.DEBUG):  # they repeat the error, with its traceback
        for name in _BEAM_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    progress.METRICS.take()  # of the plan, and of earlier runs of this process
    with progress_bar(stage, todo, remote=remote):
        try:
            write_tasks(path, todo)
            pipeline.run().wait_until_finish()
        except Exception as error:
            _log.debug("the pipeline failed", exc_info=True)
            reason = explain_failure(error)
            raise MmfeatError(
                f"the {stage.name} pipeline failed: {reason.rule}",
                got=reason.got,
                cure=reason.cure or "Finished shards are kept; run the same command again",
            ) from error
        finally:
            with suppress(OSError):
                files.remove_file(path)


def _format_peak_memory() -> str:
    peak = progress.WORKER_PEAK_MB.value
    workers = f", {peak:,.0f} MB (largest worker)" if peak else ""
    return f"{peak_memory_mb():,.0f} MB (this process){workers}"
