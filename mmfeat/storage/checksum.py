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

import xxhash

CHECKSUM = "checksum"

_ENTRY = re.compile(rb',\n  "checksum": "([^\n]{32})"\n\}\n\Z')
_ENTRY_BYTES = 64


def add_checksum(text: str) -> str:
    """Add the checksum to the text of a JSON object.

    Args:
        text: an object with at least one entry, with an indent of two spaces.
    """
    digest = xxhash.xxh3_128_hexdigest(text.encode())
    return text.removesuffix("\n}") + f',\n  "{CHECKSUM}": "{digest}"\n}}\n'


def has_checksum(data: bytes) -> bool:
    """Return whether a document has a checksum."""
    return _ENTRY.search(data, max(0, len(data) - _ENTRY_BYTES)) is not None


def is_damaged(data: bytes) -> bool:
    """Return whether a document has a checksum of other content."""
    entry = _ENTRY.search(data, max(0, len(data) - _ENTRY_BYTES))
    if entry is None:
        return False
    digest = xxhash.xxh3_128(memoryview(data)[: entry.start()])
    digest.update(b"\n}")
    return digest.hexdigest().encode() != entry[1]
