"""A local file open for writing that counts and hashes its bytes."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Annotated, Any, NotRequired, TypedDict

import xxhash
from msgspec import Meta


class RecordedFile(TypedDict):
    """What a receipt or a manifest records of a file."""

    bytes: Annotated[int, Meta(ge=0)]
    sha256: str
    xxh3_128: NotRequired[str]


class OutputFile:
    """A file open for writing. It counts and hashes the bytes, so that nothing is read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256, self._xxh3 = hashlib.sha256(), xxhash.xxh3_128()
        self.bytes = 0

    def write(self, data: Any) -> int:
        """Append bytes."""
        view = memoryview(data)
        self._sha256.update(view)
        self._xxh3.update(view)
        self.bytes += view.nbytes
        self._file.write(view)
        return view.nbytes

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.bytes

    def flush(self) -> None:
        """Flush the buffer of the file."""
        self._file.flush()

    closed = False

    def info(self) -> RecordedFile:
        """Return the size and the digests of the file, as receipts record them.

        Readers compare the XXH3-128, which is fast; the sha256 identifies the content.
        """
        return {
            "bytes": self.bytes,
            "sha256": self._sha256.hexdigest(),
            "xxh3_128": self._xxh3.hexdigest(),
        }


@contextmanager
def open_output(path: str, *, sync: bool = True) -> Iterator[OutputFile]:
    """Open a local file for writing.

    Args:
        path: the file.
        sync: whether it is on disk when the block ends.
    """
    with open(path, "wb") as file:
        yield (output := OutputFile(file))
        output.flush()
        if sync:
            os.fsync(file.fileno())
