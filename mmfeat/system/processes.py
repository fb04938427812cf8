"""Worker processes on this machine, and the peak memory of a process."""

import logging
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple

from mmfeat.errors import MmfeatError
from mmfeat.import_path import safe_child_processes
from mmfeat.system.entry import configure_logging

_log = logging.getLogger("mmfeat")

_MAX_ERROR_CHARACTERS = 1000
"""Longer errors of a worker are cut. A pipe takes such a message in one write."""


def worker_pool(
    processes: int,
    *,
    preload: Sequence[str],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    max_tasks_per_child: int | None = None,
) -> "WorkerPool":
    """Return a pool of worker processes, forked from a server.

    Workers ignore Ctrl-C, since the main process decides when to stop. They end when the main
    process ends, even if it is killed. They log at the level of the main process, and do not
    import from the working directory.

    Args:
        processes: number of workers.
        preload: modules that the server imports once for all workers.
        initializer: called in each worker, with `initargs`.
        initargs: arguments of the initializer.
        max_tasks_per_child: tasks after which a worker is replaced; None = never.
    """
    start_fork_server(preload)
    setup = bytes(ForkingPickler.dumps((initializer, initargs)))
    return WorkerPool(processes, setup, max_tasks_per_child)


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the server of `worker_pool`, so that it imports modules in the background."""
    forkserver.set_forkserver_preload(list(preload))
    with safe_child_processes():
        forkserver.ensure_running()


class WorkerDeath(NamedTuple):
    """Why a worker process ended too early.

    Attributes:
        reason: the reason, for an error message.
        killed: whether the system killed the process, perhaps for lack of memory.
    """

    reason: str
    killed: bool = False


class WorkerPool(ProcessPoolExecutor):
    """The pool that `worker_pool` returns."""

    def __init__(self, processes: int, setup: bytes, max_tasks_per_child: int | None) -> None:
        self._context = _WorkerContext(setup)
        super().__init__(processes, self._context, max_tasks_per_child=max_tasks_per_child)

    def worker_death(self) -> WorkerDeath:
        """Return why a worker ended, after a `BrokenProcessPool`."""
        self.shutdown(cancel_futures=True)
        if not self._context.errors.empty():
            return WorkerDeath(f"a worker process failed: {self._context.errors.get()}")
        # The pool ends the other workers with SIGTERM.
        codes = [code for code in self._context.exit_codes if code not in (0, -signal.SIGTERM)]
        code = codes[0] if codes else -signal.SIGTERM
        if code == -signal.SIGKILL:
            return WorkerDeath("a worker process was killed (out of memory?)", killed=True)
        if code < 0:
            name = signal.Signals(-code).name
            return WorkerDeath(f"a worker process was ended by the signal {name}")
        return WorkerDeath(f"a worker process ended with exit code {code}; an error stands above")


class _WorkerContext(ForkServerContext):
    """Makes the processes of one pool, and collects why they end.

    Args:
        setup: the pickled initializer and its arguments.
    """

    def __init__(self, setup: bytes) -> None:
        super().__init__()
        self._setup = setup
        self.errors: SimpleQueue[str] = self.SimpleQueue()
        self.exit_codes: list[int] = []

    def Process(self, **options: Any) -> "_WorkerProcess":  # type: ignore[override] # noqa: N802
        process = _WorkerProcess(**options)
        process.configure(self._setup, self.errors, self.exit_codes)
        return process


class _WorkerProcess(ForkServerProcess):
    """A worker. Any error outside of a task ends it, and goes to the main process as text."""

    def configure(self, setup: bytes, errors: "SimpleQueue[str]", exit_codes: list[int]) -> None:
        """Set what the worker needs of its pool."""
        self._setup, self._errors, self._exit_codes = setup, errors, exit_codes

    def start(self) -> None:
        """Ask the server for the process."""
        try:
            super().start()
        except (EOFError, ConnectionError) as error:
            raise MmfeatError("the server of the worker processes ended; see its error") from error

    def run(self) -> None:
        """Prepare the worker and run its tasks."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_exit_with_parent, daemon=True).start()
        try:
            configure_logging()
            # Unpickled here, so that an error of an import is caught.
            initializer, initargs = pickle.loads(self._setup)  # noqa: S301 - from the main process
            if initializer:
                initializer(*initargs)
            super().run()
        except Exception as error:
            _log.debug("a worker process failed", exc_info=True)
            self._errors.put(f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS])
            sys.exit(1)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the process and keep its exit code."""
        super().join(timeout)
        if self.exitcode is not None:
            self._exit_codes.append(self.exitcode)


def _exit_with_parent() -> None:
    """Wait for the parent process to end, then exit.

    `join` waits for the end of a pipe that the parent holds. Its process number would not do: a
    killed process keeps it until its exit code is read, and then another process may get it.
    """
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB (10^6 bytes).

    On Linux it comes from /proc. The value of getrusage includes the memory of the process that
    this one was forked from.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
        return int(status.partition(b"VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
