"""Worker processes on this machine, and the peak memory of a process."""

import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from mmfeat.system.entry import configure_logging


def worker_pool(
    processes: int,
    *,
    preload: Sequence[str],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    max_tasks_per_child: int | None = None,
) -> ProcessPoolExecutor:
    """Return a pool of worker processes, forked from a server.

    Workers ignore Ctrl-C, since the main process decides when to stop. They end when the main
    process ends, even if it is killed. They log at the level of the main process.

    Args:
        processes: number of workers.
        preload: modules that the server imports once for all workers.
        initializer: called in each worker, with `initargs`.
        initargs: arguments of the initializer.
        max_tasks_per_child: tasks after which a worker is replaced; None = never.
    """
    return ProcessPoolExecutor(
        processes,
        _fork_server_context(preload),
        initializer=_start_worker,
        initargs=(initializer, initargs),
        max_tasks_per_child=max_tasks_per_child,
    )


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the server of `worker_pool`, so that it imports modules in the background."""
    _fork_server_context(preload)
    forkserver.ensure_running()


def _fork_server_context(preload: Sequence[str]) -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def _start_worker(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    configure_logging()
    if initializer:
        initializer(*initargs)


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
