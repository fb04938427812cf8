"""Where a benchmark works."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(given: str) -> Iterator[Path]:
    """The folder given, which stays, or a temporary one, which does not."""
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
        yield Path(given).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mmfeat-benchmark-") as temporary:
        yield Path(temporary)
