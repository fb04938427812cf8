"""What tells one input from another."""

import hashlib

from mmfeat.store import files


def digest_of(path: str) -> str:
    """sha256 of a file's bytes."""
    total = hashlib.sha256()
    with files.open_input(path) as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


_END_BYTES = 1 << 20


def digest_of_ends(path: str) -> str:
    """sha256 of a file's size, first and last megabyte: a table of pictures is too much to hash.

    The last bytes of a Parquet file are its index, with the place and size of every column.
    """
    size = files.size(path) or 0
    total = hashlib.sha256(f"{size}\n".encode())
    with files.open_input(path) as file:
        total.update(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        total.update(file.read(_END_BYTES))
    return total.hexdigest()
