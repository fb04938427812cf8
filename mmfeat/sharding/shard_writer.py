"""Write the samples of one shard to its tar and its table, unless too many are rejected."""

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from mmfeat.records import Sample
from mmfeat.sharding.retry import is_better
from mmfeat.shards import ShardTable, TarWriter
from mmfeat.storage import OutputFile
from mmfeat.store import RunStoppedError, keys_digest
from mmfeat.system import progress

_MIN_RECORDS = 100
"""Records after which the reject rate is checked."""


class RejectLimit:
    """Stops the run if too many records are rejected, in committed shards and in this process.

    Args:
        max_rate: maximum fraction of rejected records; None = no limit.
        committed: `records` and `failed` of the shards of earlier runs.
    """

    def __init__(self, max_rate: float | None, committed: Mapping[str, int]) -> None:
        self._max_rate = max_rate
        self._lock = threading.Lock()
        self._records, self._failed = committed.get("records", 0), committed.get("failed", 0)

    def count(self, *, failed: bool) -> None:
        """Count a record.

        Raises:
            RunStoppedError: the fraction of rejected records exceeds the limit.
        """
        if self._max_rate is None:
            return
        with self._lock:
            self._records += 1
            self._failed += failed
            records, rejected = self._records, self._failed
        if records >= _MIN_RECORDS and rejected > self._max_rate * records:
            raise RunStoppedError(
                f"--max-reject-rate is {self._max_rate:g}, and {rejected} of {records} records "
                "are rejected; committed shards stay"
            )


class ShardWriter:
    """Writes the samples of one shard, and counts them.

    Args:
        tar_file: the tar; gets the samples that are not rejected.
        table: gets a row per sample.
        required: slots that a sample must have.
        limit: counts the samples of all shards of the process.
    """

    def __init__(
        self, tar_file: OutputFile, table: ShardTable, required: Collection[str], limit: RejectLimit
    ) -> None:
        self._tar = TarWriter(tar_file)
        self._table, self._required, self._limit = table, required, limit
        self._replaced: dict[str, Counter[str]] = {"failed": Counter(), "partial": Counter()}
        self._bytes_read = 0

    def write(self, sample: Sample) -> None:
        """Write a sample. One that was tried again is written if it is better than its row.

        Raises:
            RunStoppedError: the fraction of rejected records exceeds the limit.
        """
        status = sample.status(self._required)
        self._bytes_read += sample.total_bytes()
        if earlier := sample.record.earlier:
            if not is_better(sample, status, earlier):
                return
            self._replaced[earlier.status][earlier.reason] += 1
        else:
            self._limit.count(failed=status == "failed")
        if status != "failed":
            with progress.METRICS.timed("write"):
                self._tar.write(sample)
        self._table.append(sample, status)

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()

    def counts(self) -> dict[str, Any]:
        """Return the counts of the samples, as fields of a `Receipt`."""
        table = self._table
        return {
            "records": table.records,
            "out": table.status["ok"] + table.status["partial"],
            "rejected": dict(table.rejected),
            "status": dict(table.status),
            "problems": dict(table.problems),
            "replaced": {name: dict(counts) for name, counts in self._replaced.items() if counts},
            "keys_sha256": keys_digest(table.keys),
            "bytes_read": self._bytes_read,
        }
