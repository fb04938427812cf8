"""A count of records done in this process: stages add to it, whoever shows progress reads it."""

import threading


class Count:
    """A number that several threads may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, number: int) -> None:
        """Add to the count."""
        with self._lock:
            self.value += number


RECORDS = Count()
"""Records that the stages of this process have done."""
