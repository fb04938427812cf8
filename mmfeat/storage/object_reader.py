"""Read an object of known size."""

import errno
import io
import os
from typing import Any

_BLOCK_BYTES = 16 << 20


class ObjectReader(io.RawIOBase):
    """An object in an object store. It is read in blocks, with one request for each.

    The files of s3fs and gcsfs send further requests for the size of the object.

    Args:
        fs: the file system.
        name: name of the object.
        size: its size in bytes; what lies behind is not read.
    """

    def __init__(self, fs: Any, name: str, size: int) -> None:
        super().__init__()
        self._fs, self._name, self._size = fs, name, size
        self._position = 0
        self._block, self._block_start = memoryview(b""), 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; return how many. The object may be shorter than expected.

        Raises:
            FileNotFoundError: there is no such object.
        """
        start = self._position - self._block_start
        if not 0 <= start < len(self._block):
            if self._position >= self._size:
                return 0
            end = min(self._position + _BLOCK_BYTES, self._size)
            try:
                block = self._fs.cat_file(self._name, start=self._position, end=end)
            except Exception as error:
                if is_refused_range(error) and self._fs.info(self._name)["size"] <= self._position:
                    return 0
                raise
            self._block, self._block_start, start = memoryview(block), self._position, 0
        piece = self._block[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def is_refused_range(error: Exception) -> bool:
    """Return whether an error may say that an object has no byte of a range. Only its size tells:
    the number may be part of a name.
    """
    return getattr(error, "errno", None) == errno.EINVAL or "416" in str(error)
