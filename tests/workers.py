"""Find and kill the worker processes of a run."""

import psutil


def workers_of(run: int) -> list[psutil.Process]:
    """Return the worker processes of a run: children of the fork server."""
    try:
        descendants = psutil.Process(run).children(recursive=True)
        return [process for process in descendants if process.ppid() != run]
    except psutil.NoSuchProcess:
        return []


def kill(worker: psutil.Process) -> bool:
    """Kill a worker. False if it has ended."""
    try:
        worker.kill()
    except psutil.NoSuchProcess:
        return False
    return True
