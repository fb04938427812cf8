"""Checks of options."""

from collections.abc import Iterable
from typing import Any

from mmfeat.errors import MmfeatError


def check_at_least_one(options: Any, *names: str) -> None:
    """Check that options are at least 1 or None.

    Raises:
        MmfeatError: an option is below 1.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise MmfeatError(f"--{name.replace('_', '-')} must be at least 1", got=value)


def check_metric(metric: str, known: Iterable[str], task: str) -> None:
    """Check that the task has the metric.

    Raises:
        MmfeatError: it does not; the error lists the task's metrics.
    """
    if metric not in known:
        raise MmfeatError(
            f"--metric of the task {task!r} must be one of: {', '.join(known)}", got=metric
        )
