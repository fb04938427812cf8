"""Digests that identify input files."""

import hashlib
from typing import Any, cast

from mmfeat.storage import files

_END_BYTES = 1 << 20


def file_sha256(path: str) -> str:
    """Return the sha256 of the bytes of a file."""
    with files.open_input(path) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def file_ends_sha256(path: str) -> str:
    """Return the sha256 of the size, the first and the last megabyte of a large file.

    The last bytes of a Parquet file contain position and size of every column.
    """
    size = files.size(path) or 0
    digest = hashlib.sha256(f"{size}\n".encode())
    with files.open_input(path) as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()
