"""What every stage is: tasks from a plan, one shard a task, a manifest at the end.

The unit of work is one shard. Only tasks and receipts pass between steps, so a stage runs the
same way in one process and on a thousand workers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store.directory import Receipt


@dataclass(frozen=True)
class ShardTask:
    """One shard to make.

    Attributes:
        shard: its name, `00000`.
        records: input records in it, to show progress by.
        done: whether it has its receipts from an earlier run.
    """

    shard: str
    records: int
    done: bool = False


class RunStoppedError(MmfeatError):
    """Nothing more is to be made: shards not begun are left alone, committed ones stay."""


class Stage(ABC):
    """A step from one store to the next."""

    name: str
    output: str
    """The directory the stage makes."""
    processes: int = 1
    """Processes that may make shards side by side on this machine; 0 = as many as pay."""

    @abstractmethod
    def plan(self) -> list[ShardTask]:
        """Claim the output and say which shards it will have, the same for the same input.

        Raises:
            MmfeatError: the input or the output directory does not fit.
        """

    def load(self) -> Any:
        """Load what workers share, once a process: encoders, a model."""
        return None

    @abstractmethod
    def process(self, task: ShardTask, loaded: Any) -> Receipt:
        """Make one shard and write its receipts; what was there without one is written anew."""

    @abstractmethod
    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Write the manifest from the receipts of all shards and return it.

        Raises:
            MmfeatError: shards are missing, or nothing usable came out.
        """

    def tidy(self, shards: Sequence[str]) -> None:  # noqa: B027 - most stages have nothing to do
        """Remove what the finished store does not need; comes last, once."""

    @abstractmethod
    def finished(self) -> dict[str, Any] | None:
        """The manifest, when an earlier run finished this very work."""

    def facts(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """What the closing table says beyond the account: name → fact."""
        return {}
