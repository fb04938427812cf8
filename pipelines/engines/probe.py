"""Run a pipeline of one element on an engine, with a bounded wait.

An engine whose workers do not start lets a job wait for ever, and some calls of Beam do not end
either. So the pipeline runs in a process of its own, which is ended when its time is over.
"""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from pipelines.engines.beam_options import make_pipeline, runner_name
from pipelines.engines.failures import explain_failure, last_line
from pipelines.engines.worker_check import (
    REQUIRED,
    check_worker,
    worker_task,
)

_END_SECONDS = 5.0
_FAILED = "mmfeat-probe: "
_ERROR = re.compile(r"error\b|critical", re.IGNORECASE)
"""In a line of a log: the engine or a worker says what is wrong."""

_CURES = {
    "EXTERNAL": "Start the pool with mmfeat-worker-pool, which shows why a worker dies. The pool "
    "of Beam starts the first `python` in PATH, which must be the one with mmfeat: read its output",
    "PROCESS": "--environment_config must name mmfeat-worker on each machine of the engine. Run it "
    "there by hand with --help",
    "DOCKER": "The image needs mmfeat, and the machines of the engine need Docker. Name it with "
    "--environment_config, or choose --environment_type=PROCESS or LOOPBACK",
}
"""Environment of the workers → what to do if none starts."""


def has_remote_workers(options: PipelineOptions) -> bool:
    """Return whether the engine starts workers outside of this process."""
    return _environment(options) != "LOOPBACK"


def _environment(options: PipelineOptions) -> str:
    return str(options.view_as(PortableOptions).environment_type or "DOCKER").upper()


def check_workers(
    options: PipelineOptions,
    *,
    packages: tuple[str, ...] = REQUIRED,
    output: str = "",
    seconds: float,
) -> str:
    """Run one element on the engine: a worker checks itself. Return what was found.

    Args:
        options: of `beam_options`, checked by `check_engine`.
        packages: packages of which a worker must have the version of this process.
        output: a folder that the workers must share with this process; empty = not checked.
        seconds: time that the engine has.

    Raises:
        MmfeatError: no worker has started in time, a worker lacks something, or the job failed.
    """
    known = options.get_all_options(drop_default=True, retain_unknown_options=True)
    if "parallelism" in known:
        known["parallelism"] = 1  # Flink would start a worker on each of its machines
    with _shared_folder(output) as folder:
        arguments = json.dumps({"packages": packages, "folder": folder, "options": known})
        _run_process(arguments, options, seconds)
        if folder and not files.exists(files.join(folder, "answer")):
            raise MmfeatError(
                "the workers must share the storage of the output with this machine",
                got=output,
                cure="Name a URL (gs://, s3://) or a folder of a shared disk",
            )
    return f"a worker has Python and {', '.join(packages)} in the same versions"


@contextmanager
def _shared_folder(output: str) -> Iterator[str]:
    """Yield a new folder beside the output, with a file `question`; empty if there is no output."""
    if not output:
        yield ""
        return
    folder = f"{output.rstrip('/')}.doctor-{uuid.uuid4().hex[:8]}"
    try:
        with files.create(files.join(folder, "question")) as file:
            file.write(uuid.uuid4().bytes)
        yield folder
    finally:
        files.remove(folder)


def _run_process(arguments: str, options: PipelineOptions, seconds: float) -> None:
    command = [sys.executable, "-m", __name__, arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        environment = _environment(options)
        cure = _CURES.get(environment, "See the log of the engine")
        errors = [line for line in _end(process).splitlines() if _ERROR.search(line)]
        raise MmfeatError(
            f"a worker of --runner={runner_name(options)} with --environment_type={environment} "
            f"must start and do one element within {seconds:g} s",
            got=errors[-1].strip() if errors else None,
            cure=f"{cure}. If the engine is only slow, give it time with --engine_timeout",
        ) from None
    finally:
        _end(process)
    if process.returncode:
        lines = text.splitlines()
        found = [line.removeprefix(_FAILED) for line in lines if line.startswith(_FAILED)]
        raise MmfeatError(
            f"a pipeline of one element must run on --runner={runner_name(options)}",
            got=found[0] if found else last_line(text),
            cure="Give the workers the packages of constraints.txt, and see the log of the engine",
        )


def _end(process: "subprocess.Popen[str]") -> str:
    """End a process with the servers that it started: ask it to, then kill the group.

    Returns:
        What it has printed.
    """
    text = ""
    for signal_, seconds in ((signal.SIGTERM, _END_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_)
        with suppress(subprocess.TimeoutExpired):
            text = process.communicate(timeout=seconds)[0] or text
    return text


def main(arguments: Sequence[str]) -> int:
    """Run the pipeline. The one argument is a JSON object of packages, folder and options."""
    given = json.loads(arguments[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the job is cancelled below
    result = None
    try:
        pipeline = make_pipeline(PipelineOptions.from_dictionary(given["options"]))
        task = worker_task(tuple(given["packages"]), given["folder"])
        _ = pipeline | beam.Create([task]) | "Check" >> beam.Map(check_worker)
        result = pipeline.run()
        result.wait_until_finish()
    except BaseException as error:
        print(f"{_FAILED}{explain_failure(error)}", flush=True)
        if result is not None and not isinstance(error, Exception):
            result.cancel()
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads of a job that hangs would not end
