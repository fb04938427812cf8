"""Numbers of a run in this process: stages write them, whoever shows progress reads them."""

import threading


class Count:
    """A number that several threads may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value: float = 0

    def add(self, number: float) -> None:
        """Add to the count."""
        with self._lock:
            self.value += number

    def raise_to(self, number: float) -> None:
        """Make it that number, unless it is larger already."""
        with self._lock:
            self.value = max(self.value, number)


RECORDS = Count()
"""Records that the stages of this process have done."""

WORKERS_PEAK = Count()
"""Most memory, in MB, that a process working for this one has had."""
