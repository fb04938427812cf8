"""The checksum of a JSON document: its last entry, so that a reader notices damage.

    {
      "shard": "00000",
      …
      "checksum": "XXH3-128 of the document without this entry"
    }

A document without the entry, or in another layout, was written by an earlier version or edited. It
is read without a check.
"""

import re
from collections.abc import Iterable, Iterator

import xxhash

CHECKSUM = "checksum"

_ENTRY = re.compile(rb',\n  "checksum": "([^\n]{32})"\n\}\n\Z')
_ENTRY_BYTES = 64
_END = b"\n}"


def add_checksum(pieces: Iterable[str]) -> Iterator[bytes]:
    """Yield the text of a JSON object with its checksum.

    Args:
        pieces: text of an object with at least one entry, with an indent of two spaces and without
            its end.
    """
    digest = xxhash.xxh3_128()
    for piece in pieces:
        data = piece.encode()
        digest.update(data)
        yield data
    digest.update(_END)
    yield f',\n  "{CHECKSUM}": "{digest.hexdigest()}"\n}}\n'.encode()


def has_checksum(data: bytes) -> bool:
    """Return whether a document has a checksum."""
    return _ENTRY.search(data, max(0, len(data) - _ENTRY_BYTES)) is not None


def is_damaged(data: bytes) -> bool:
    """Return whether a document has a checksum of other content."""
    entry = _ENTRY.search(data, max(0, len(data) - _ENTRY_BYTES))
    if entry is None:
        return False
    digest = xxhash.xxh3_128(memoryview(data)[: entry.start()])
    digest.update(_END)
    return digest.hexdigest().encode() != entry[1]
