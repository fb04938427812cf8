"""Compare a file with its receipt: the size, then every digest."""

from mmfeat.storage import files
from mmfeat.store import RecordedFile, record_file


def check_bytes(path: str, info: RecordedFile) -> str:
    """Return how a file differs from what a receipt records of it; empty if it does not."""
    return compare_size(path, info) or compare_digests(record_file(path), info)


def compare_size(path: str, info: RecordedFile) -> str:
    """Return how the size of a file differs; empty if it does not."""
    size = files.size(path)
    if size is None:
        return "is missing"
    return "" if size == info["bytes"] else f"has {size:,} bytes instead of {info['bytes']:,}"


def compare_digests(found: RecordedFile, info: RecordedFile) -> str:
    """Return which digest of a file differs; empty if none does.

    Args:
        found: the size and the digests of the file.
        info: what its receipt records; that of an earlier version lacks a digest.
    """
    differing = [name for name in found if info.get(name, found[name]) != found[name]]  # type: ignore[literal-required]
    return f"has another {differing[0]} than its receipt" if differing else ""
