"""The program `mmfeat-worker-pool`: starts workers that an engine asks for.

    mmfeat-worker-pool --port=50000
    mmfeat shard … --environment_type=EXTERNAL --environment_config=localhost:50000

Beam's pool starts the first `python` in PATH, and listens on all interfaces. If such a worker dies
at its start, the engine waits for it for ever. This pool starts workers with its own Python and
packages, and a worker that dies at its start is an error of the engine.
"""

import argparse
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import (
    BeamFnExternalWorkerPoolServicer,
    kill_process_gracefully,
)

from pipelines.engines.failures import last_line

WORKER = """
import os, sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
harness = SdkHarness(sys.argv[1], worker_id=sys.argv[2])
print(flush=True)
os.dup2(2, 1)
harness.run()
"""
"""The program of a worker. It prints a line when it can work."""

_LINES = 100
"""Lines of a worker that are kept for the error."""


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts and stops workers, each in a process of its own."""

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Start a worker and wait until it can work. The answer has the error if it cannot."""
        arguments = [request.control_endpoint.url, request.worker_id]
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._worker_processes[request.worker_id] = process
        lines: deque[str] = deque(maxlen=_LINES)
        copy = Thread(target=_copy, args=(process.stderr, lines), daemon=True)
        copy.start()
        if process.stdout and process.stdout.readline():
            return beam_fn_api_pb2.StartWorkerResponse()
        code = process.wait()
        copy.join()
        return beam_fn_api_pb2.StartWorkerResponse(
            error=f"the worker has ended with exit code {code}: {last_line(''.join(lines))}"
        )

    def stop_all(self) -> None:
        """Stop all workers."""
        for process in list(self._worker_processes.values()):
            kill_process_gracefully(process)


def _copy(source: Iterable[str], lines: deque[str]) -> None:
    for line in source:
        lines.append(line)
        sys.stderr.write(line)


def start_pool(host: str, port: int = 0) -> tuple[int, WorkerPool, grpc.Server]:
    """Start a pool. Return its port, the pool and its server.

    Raises:
        RuntimeError: the port is in use.
    """
    server, pool = grpc.server(ThreadPoolExecutor()), WorkerPool(use_process=True)
    port = server.add_insecure_port(f"{host}:{port}")
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.start()
    return port, pool, server


def main() -> int:
    """Run a pool until the process is ended."""
    parser = argparse.ArgumentParser(
        prog="mmfeat-worker-pool",
        description="Start workers for an engine with --environment_type=EXTERNAL",
    )
    parser.add_argument("--port", type=int, default=50000)
    parser.add_argument(
        "--host",
        default="localhost",
        help="where to listen. Who reaches the pool can run code: [::] is for closed networks only",
    )
    flags = parser.parse_args()
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    port, pool, server = start_pool(flags.host, flags.port)
    print(f"mmfeat-worker-pool listens on {flags.host}:{port}", flush=True)
    ended.wait()
    server.stop(None)
    pool.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
