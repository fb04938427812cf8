"""The server that worker processes are forked from."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

from mmfeat.import_path import safe_child_processes


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the server of `worker_pool`, so that it imports modules in the background."""
    forkserver.set_forkserver_preload(list(preload))
    with safe_child_processes():
        with _environment(PYTHONWARNINGS="ignore:resource_tracker"):
            # It removes the semaphores of a killed main process. A warning says nothing to users.
            resource_tracker.ensure_running()
        with _blocked_interrupts():
            forkserver.ensure_running()


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Start processes in this block that Ctrl-C never interrupts, not even while they import."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables in this block."""
    previous = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
