"""The text of a JSON document: write it in pieces with a checksum, and parse it.

The text is that of `json.dumps(value, ensure_ascii=False, indent=2)`, which takes much longer, as
it calls Python for each value; a manifest of a million shards has 350 MB. The checksum is the last
entry, so that a reader notices damage:

    {
      "shard": "00000",
      …
      "checksum": "XXH3-128 of the document without this entry"
    }

A document without the entry, or in another layout, was written by an earlier version or edited. It
is read without a check.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import xxhash

from mmfeat.errors import DamagedFileError

MAX_JSON_BYTES = 512 << 20
"""Maximum size of a JSON document. The manifest of a million shards takes 350 MB."""

MAX_JSON_VALUES = 1 << 24
"""Maximum number of values in a JSON document, so that it takes at most some 2 GB of memory. The
manifest of a million shards has 7 million."""

MAX_JSON_DEPTH = 64
"""Maximum depth of a JSON document. Code that visits one recursively is safe up to some 900."""

RESTORE = "Restore it from a copy, or remove it and run the command that made it again"
"""What to do about a damaged JSON document."""

CHECKSUM = "checksum"

_ENTRY = re.compile(rb',\n  "checksum": "([^\n]{32})"\n\}\n\Z')
_ENTRY_BYTES = 64
_END = b"\n}"

_encode = json.JSONEncoder(ensure_ascii=False).encode
_SCALARS = (str, int, float, bool, type(None))
_PIECE_ITEMS = 1000


def object_pieces(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of an object that has entries, without its end, `\\n}`.

    Args:
        value: the object. Its keys are texts.
    """
    separator = "{\n"
    for key, entry in value.items():
        yield f"{separator}  {_encode(key)}: "
        separator = ",\n"
        if isinstance(entry, list) and entry:
            yield from _list_pieces(entry)
        else:
            yield _indent(entry, "  ")


def _list_pieces(items: list[Any]) -> Iterator[str]:
    separator = "[\n    "
    for start in range(0, len(items), _PIECE_ITEMS):
        piece = items[start : start + _PIECE_ITEMS]
        yield separator + ",\n    ".join([_indent(item, "    ") for item in piece])
        separator = ",\n    "
    yield "\n  ]"


def _indent(value: Any, indent: str) -> str:
    """Return the text of a value, whose lines after the first one are indented."""
    if (
        type(value) is dict
        and value
        and all(type(key) is str and type(entry) in _SCALARS for key, entry in value.items())
    ):
        entries = [f"{indent}  {_encode(key)}: {_encode(entry)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text.replace("\n", f"\n{indent}")  # strings have no line breaks of their own


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


def parse_json(text: bytes, path: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse the text of a JSON document; arguments and errors as in `read_json`."""
    if len(text) > max_bytes:
        raise DamagedFileError(f"{path} must have at most {max_bytes:,} bytes")
    if len(text) > MAX_JSON_VALUES and sum(map(text.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise DamagedFileError(f"{path} must have at most {MAX_JSON_VALUES:,} values")
    try:
        value = _decode(text)
        if not is_shallow(text) and _is_deep(value):
            raise RecursionError
    except RecursionError as error:
        raise DamagedFileError(f"{path} must have at most {MAX_JSON_DEPTH} levels") from error
    except ValueError as error:
        raise DamagedFileError(f"{path} must be JSON", got=str(error), cure=RESTORE) from error
    if is_damaged(text):
        raise DamagedFileError(f"{path} must have the content of its checksum", cure=RESTORE)
    if isinstance(value, dict):
        value.pop(CHECKSUM, None)
    return value


def _decode(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)  # four times faster
    except (msgspec.MsgspecError, UnicodeError):  # NaN, lone surrogates, or an error with its place
        return json.loads(text)


def is_shallow(text: bytes) -> bool:
    """Return whether a JSON text has at most `MAX_JSON_DEPTH` lists and objects."""
    return text.count(b"{") + text.count(b"[") <= MAX_JSON_DEPTH


def _is_deep(value: Any) -> bool:
    """Return whether a JSON value has more than `MAX_JSON_DEPTH` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_JSON_DEPTH):
        if not level:
            return False
        parents = (v.values() if type(v) is dict else v for v in level)
        level = [v for values in parents for v in values if type(v) in (dict, list)]
    return bool(level)
