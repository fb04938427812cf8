"""The base class of a pipeline stage: plan tasks, process one shard per task, write the manifest.

The unit of work is one shard. Only tasks and shard names pass between steps, so a stage runs the
same way in one process and on a thousand workers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store.manifest import finished_manifest
from mmfeat.store.receipts import Receipt

NO_FACTS: Mapping[Any, Any] = {}
"""One object for all tasks: there may be millions."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to make, with all that a worker has to know about it.

    Attributes:
        shard: its name, `00000`.
        records: number of input records, for the progress bar.
        done: whether an earlier run has made the shard.
        fresh: whether nobody had started the shard when it was planned.
        pending: its tables that are to be made, if it has several.
        source: what the stage knows about it, such as its entry in the manifest of the input.
        deadly: row → why the process died that worked on the record. It gets the reason
            `worker_died` and is left alone.
    """

    shard: str
    records: int
    done: bool = False
    fresh: bool = False
    pending: Sequence[str] = ()
    source: Mapping[str, Any] = field(default_factory=lambda: NO_FACTS, hash=False)
    deadly: Mapping[int, str] = field(default_factory=lambda: NO_FACTS, hash=False)


class RunStoppedError(MmfeatError):
    """The run must stop: no further shard is started, committed shards stay."""


class Stage(ABC):
    """A step from one store to the next."""

    name: str
    config: Any
    """The options, a dataclass."""
    output: str
    """The directory that the stage writes."""
    config_hash: str = ""
    """Hash of the configuration; `plan` sets it."""
    max_processes: int = 1
    """Processes that may make shards in parallel on this machine; 0 = one per core."""
    min_parallel_records: int = 4000
    """With fewer records, starting one process per core takes longer than it saves."""
    processes: int = 1
    """Processes that do so in this run."""
    worker_devices: Sequence[str] = ()
    """Devices that these processes take in turn, one each; none = all use the configured one."""
    counts_partial: bool = True
    """Whether receipts count the usable records that lack a part."""
    expects_deaths: bool = False
    """Whether a record has killed its process before, so that shards are made in processes of
    their own; `plan` may set it."""

    @property
    def worker_modules(self) -> list[str]:
        """Modules that worker processes of the stage need. They are imported once for all."""
        return [type(self).__module__]

    @property
    def receipts_folder(self) -> str:
        """Folder in which a receipt appears when a shard is made."""
        return self.output

    @property
    def outputs(self) -> list[str]:
        """All directories that the stage writes. A run locks them."""
        return [self.output]

    def check_inputs(self) -> None:  # noqa: B027 - `plan` checks all of them again
        """Find mistyped paths and names. Called before Beam is imported, so it imports nothing
        heavy and reads little.

        Raises:
            MmfeatError: the input or the output directory cannot be used.
        """

    @abstractmethod
    def plan(self) -> list[ShardTask]:
        """Open the output directory and list its shards. The same input gives the same list.

        Raises:
            MmfeatError: the input or the output directory cannot be used.
        """

    def load(self) -> Any:
        """Load what the tasks of a process share, such as encoders or a model."""
        return None

    def use_device(self, device: str) -> None:  # noqa: B027 - most stages have no device
        """Use one of `worker_devices` in this process. Called before `load`."""

    @abstractmethod
    def process(self, task: ShardTask, loaded: Any) -> Receipt:
        """Make one shard and write its receipt. Files without a receipt are overwritten."""

    @abstractmethod
    def is_made(self, task: ShardTask) -> bool:
        """Return whether a shard has been made since it was planned."""

    @abstractmethod
    def try_records(self, task: ShardTask, rows: range, loaded: Any) -> None:
        """Do the work on some records of a shard as `process` does, and write nothing.

        It is called in a process of its own, to find the records that kill their process.

        Args:
            task: the shard.
            rows: the records; none = only open the shard.
            loaded: what `load` returned.
        """

    def parallel_shards(self, loaded: Any) -> int:
        """Return how many shards a process makes at the same time, in threads."""
        return 1

    def release(self) -> None:  # noqa: B027 - most stages need nothing
        """Free what `plan` has loaded, because other processes make the shards."""

    @abstractmethod
    def finish(self, shards: Sequence[str]) -> dict[str, Any]:
        """Write the manifest from the receipts of all shards and return it.

        Raises:
            MmfeatError: shards are missing, or no record is usable.
        """

    def clean_up(self, shards: Sequence[str]) -> None:  # noqa: B027 - most stages need nothing
        """Remove files that the finished store does not need. Called once, after `finish`."""

    def finished_manifest(self) -> dict[str, Any] | None:
        """Return the manifest if an earlier run finished the same work, else None."""
        return finished_manifest(self.output, self.config_hash)

    def is_partial(self, reason: str) -> bool:
        """Return whether records with the `reason` lack a part, if they are not rejected."""
        return True

    def summary(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return additional lines of the closing summary: name → value."""
        return {}

    def advice(self, manifest: dict[str, Any]) -> list[str]:
        """Return what to do next: lines to print after the closing summary."""
        return []
