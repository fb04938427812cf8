"""Processor time to start a worker process of an engine: mmfeat-worker and Beam's program.

python -m benchmarks.worker_start [--runs N]

Beam's program is built with Go, as `make engines` does. The engine here tells each worker of a job
without work, so that it ends as soon as it has started.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)

from tests.engines.install import HERE, install_program


class _Engine(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
):
    """The servers of an engine that has no work."""

    def __init__(self) -> None:
        self.info = beam_provision_api_pb2.ProvisionInfo()

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=self.info)

    def Control(self, responses: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        return iter(())

    def Logging(self, entries: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for _ in entries:
            pass
        return iter(())


@contextmanager
def _engine() -> Iterator[str]:
    """Run the servers; yield their address."""
    engine, server = _Engine(), grpc.server(ThreadPoolExecutor(8))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(engine, server)
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(engine, server)
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(engine, server)
    address = f"localhost:{server.add_insecure_port('localhost:0')}"
    for endpoint in ("control_endpoint", "logging_endpoint", "artifact_endpoint"):
        getattr(engine.info, endpoint).url = address
    server.start()
    yield address
    server.stop(0)


def measure(program: str, address: str) -> float:
    """Start a worker and return the processor seconds of all its processes until it ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    flags = ["--id=1", f"--provision_endpoint={address}"]
    with TemporaryDirectory() as folder:  # Beam's program writes a file there
        subprocess.run([program, *flags], cwd=folder, check=True, capture_output=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the median of each program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    os.environ["WORKER_PYTHON"] = sys.executable  # for boot.sh
    os.environ["WORKER_BOOT"] = str(install_program("container"))
    programs = {
        "mmfeat-worker": str(Path(sys.executable).parent / "mmfeat-worker"),
        "boot of Beam": str(HERE / "boot.sh"),
    }
    seconds = {}
    print(f"{'program':<16}{'processor seconds':>20}")
    with _engine() as address:
        for name, program in programs.items():
            seconds[name] = round(median(measure(program, address) for _ in range(runs)), 2)
            print(f"{name:<16}{seconds[name]:>20.2f}", flush=True)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
