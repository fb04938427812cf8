"""The interface of an input: features of the records of one shard after the other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mmfeat.extraction import Extraction, ProcessLimits
from mmfeat.features import ColumnShard
from mmfeat.scoring.predicting import ScoredModels
from mmfeat.store import ShardTask

SelectRows = Callable[[pa.Table], tuple[np.ndarray, np.ndarray]]
"""Returns which rows of a samples table are scored, and which a retry has replaced: bool, shape
(rows,)."""


@dataclass(frozen=True)
class ShardRows:
    """The records of one shard.

    Attributes:
        samples: rows of the samples table.
        columns: the feature columns, aligned with the rows.
        selected: bool, shape (rows,): which rows are scored.
        replaced: bool, shape (rows,): which rows a retry has replaced.
        bytes_read: bytes of features, or of the media that were decoded.
        facts: what the receipt of the predictions records of the shard, besides its keys.
    """

    samples: pa.Table
    columns: Mapping[str, ColumnShard]
    selected: np.ndarray
    replaced: np.ndarray
    bytes_read: int
    facts: Mapping[str, str] = field(default_factory=dict)


class RowReader(ABC):
    """Reads the shards of an input in a worker process.

    Attributes:
        counts_records: whether `read` counts the records for the progress bar.
        parallel_shards: shards to read at the same time.
    """

    counts_records: bool = False
    parallel_shards: int = 2

    @abstractmethod
    def read_samples(self, task: ShardTask, names: Sequence[str]) -> pa.Table:
        """Read columns of the samples table of a shard.

        Raises:
            DamagedFileError: the file is damaged.
        """

    @abstractmethod
    def read(self, task: ShardTask, names: Sequence[str], select: SelectRows) -> ShardRows:
        """Read or compute the features of a shard.

        Args:
            task: the shard.
            names: columns of the samples table.
            select: which rows are scored. It is called once.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """

    @abstractmethod
    def try_records(self, task: ShardTask, rows: range) -> Mapping[str, ColumnShard] | None:
        """Read or encode some records, and write nothing.

        Returns:
            The columns of the shard, if they are stored.
        """

    @abstractmethod
    def replaced_rows(self, samples: pa.Table, shard: str) -> np.ndarray:
        """Return which rows a retry has replaced: bool, shape (rows,).

        Args:
            samples: rows with `__key__` and `status`.
            shard: name of the shard.
        """


class ScoringInput(ABC):
    """An input in the process that plans; workers get it without the list of shards.

    Attributes:
        path: the store.
        kind: its kind, `features` or `shards`.
        shards: entries of its manifest.
        config_hash: hash of the configuration it was made with.
        retry_digest: digest of its shards of retried records; empty if it has none.
        samples_schema: schema of its samples table.
    """

    path: str
    kind: str
    shards: Sequence[Mapping[str, Any]]
    config_hash: str
    retry_digest: str
    samples_schema: pa.Schema

    limits: ProcessLimits = ProcessLimits((), 1, 0)
    """Processes that make shards; `start` sets it."""

    def check(self) -> None:  # noqa: B027 - `open` checks all of it again
        """Find mistyped paths; it imports nothing heavy and reads little."""

    @abstractmethod
    def read_schema(self) -> pa.Schema:
        """Read the schema of the samples table. Called before `open`, too."""

    @abstractmethod
    def open(self, models: ScoredModels) -> None:
        """Read the manifest, and check that the input has the columns of the models.

        Raises:
            MmfeatError: a column is missing and cannot be computed, or is of another encoder.
        """

    @property
    def modules(self) -> list[str]:
        """Modules that worker processes need."""
        return []

    @property
    def kept_features(self) -> Extraction | None:
        """The extraction that writes features beside the predictions, if one does."""
        return None

    def prepare(self) -> None:  # noqa: B027 - stored features need nothing
        """Load and check the encoders. Called before the output is claimed."""

    def start(self) -> None:  # noqa: B027 - stored features need nothing
        """Write what a later run needs to continue. Called after the output is claimed."""

    def use_device(self, device: str) -> None:  # noqa: B027 - stored features have no device
        """See `Stage.use_device`."""

    def release(self) -> None:  # noqa: B027 - stored features need nothing
        """Free the memory of the encoders."""

    @abstractmethod
    def load(self, models: ScoredModels | None, processes: int = 1) -> RowReader:
        """Load what the tasks of a process share.

        Args:
            models: the models; None = only samples tables are read.
            processes: processes on this machine that make shards.
        """

    def is_final(self, source: Mapping[str, Any], task: ShardTask) -> bool:
        """Return whether a shard was scored from the records that the input has now.

        Args:
            source: what the receipt of the predictions records of the input.
            task: the shard.
        """
        return bool(source.get("keys_sha256") == task.source["keys_sha256"])
