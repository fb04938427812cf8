"""The limit of rejected records, --max-reject-rate."""

import threading
from collections.abc import Mapping

from mmfeat.store import RunStoppedError

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
