"""Read the JSON documents of a store: config, manifest, receipts, descriptions.

A store may be damaged, and a stranger may have made it. Every document is checked against a type
before any of its values is used, so no name in it leads out of the store, no number is negative or
absurd, and nothing that readers need is missing.

A type is a TypedDict, whose other keys are ignored, or a dataclass. `msgspec` checks it, with the
constraints of the annotated types below.
"""

import re
from contextlib import suppress
from dataclasses import is_dataclass
from functools import lru_cache
from threading import Lock
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.storage.json_text import is_damaged, is_shallow, parse_json

T = TypeVar("T")

_NAME = r"\A[\w-][\w.-]{0,199}\Z"
_FILE_NAME = r"\A[\w-][\w.-]{0,199}(/[\w-]{1,100}=[\w.%-]{1,199})?(/[\w-][\w.-]{0,199})?\Z"

Name = Annotated[str, Meta(pattern=_NAME)]
"""A name that becomes part of a path: a shard, a column, a file in a folder. Letters, digits, `_`,
`-` and, after the first character, `.`. It is one component of a path and not hidden; no file
system gives another meaning to it."""

FileName = Annotated[str, Meta(pattern=_FILE_NAME)]
"""Path of a file in a store: `NAME`, or `NAME/NAME` in a folder, or `NAME/COLUMN=VALUE/NAME` in a
partition. No component begins with a dot."""

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
"""Number of records, files or bytes."""

Size = Annotated[int, Meta(ge=1, le=1 << 24)]
"""Length of a vector, a batch or a list of tokens."""

SMALL_BYTES = 16 << 20
"""Maximum size of a document that describes one shard or one column. A receipt has 1 to 100 KB: one
line for each combination of reasons."""

_PATTERNS = {
    _NAME: "a plain name (letters, digits, _, - and . after the first character)",
    _FILE_NAME: "a plain name, or two with / between them",
}
"""Pattern in an error of msgspec → its words for people."""

_PLACE = re.compile(r" - at `(?P<of_key>key` in `)?\$(?P<path>[^`]*)`\Z")
_SHOWN_CHARACTERS = 100


def read_document(path: str, schema: type[T], max_bytes: int = files.MAX_JSON_BYTES) -> T | None:
    """Read a JSON document; None if the file does not exist.

    Args:
        path: the file.
        schema: type of the document.
        max_bytes: maximum size of the file.

    Raises:
        DamagedFileError: the file is not JSON, is too large, or does not have the type.
    """
    try:
        text = files.read_bytes(path, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if is_dataclass(schema) and is_shallow(text) and not is_damaged(text):
        with suppress(msgspec.MsgspecError, UnicodeError):  # they are explained below
            return json_decoder(schema).decode(text)
    return check_value(parse_json(text, path, max_bytes), schema, path)


def read_intact_document(
    path: str, schema: type[T], max_bytes: int = files.MAX_JSON_BYTES
) -> T | None:
    """Read a document that can be made again; None if the file does not exist or is damaged."""
    try:
        return read_document(path, schema, max_bytes)
    except DamagedFileError:
        return None


_FIRST_USE = Lock()


def json_decoder(schema: type[T]) -> msgspec.json.Decoder[T]:
    """Return a decoder of a type.

    Any use of a type comes after this. msgspec describes a type when it is first used, and
    version 0.22 crashes if another thread uses the unfinished description.
    """
    decoder: msgspec.json.Decoder[T] = _describe_once(cast(Any, schema))
    return decoder


@lru_cache(maxsize=1024)
def _describe_once(schema: Any) -> Any:
    with _FIRST_USE:
        return msgspec.json.Decoder(schema)


def check_value(value: Any, schema: type[T], path: str) -> T:
    """Check a value of a JSON document, and return it as a dataclass if the type is one.

    Args:
        value: the value.
        schema: its type.
        path: the file it is from, for errors.

    Raises:
        DamagedFileError: the value does not have the type. The error has the file, the place and
            the value found there.
    """
    json_decoder(schema)
    try:
        converted = msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise _explain(error, value, path) from error
    except UnicodeEncodeError as error:  # a lone surrogate
        raise DamagedFileError(
            f"{path} must hold texts of valid characters", got=str(error), cure=files.RESTORE
        ) from error
    return cast(T, value) if isinstance(converted, dict | list) else converted


def _explain(error: msgspec.ValidationError, value: Any, path: str) -> DamagedFileError:
    text = str(error)
    place = _PLACE.search(text)
    rule = text[: place.start()] if place else text
    for pattern, words in _PATTERNS.items():
        rule = rule.replace(f"`str` matching regex {pattern!r}", words)
    where, got = "", None
    if place:
        found = _value_at(value, place["path"])
        if place["of_key"]:
            got = next((key for key in found or () if not re.search(_FILE_NAME, key)), None)
            where = f"a key of {place['path'].removeprefix('.')}: "
        elif place["path"]:
            where, got = f"{place['path']}: ", found
    where, rule = where.removeprefix("."), rule[:1].lower() + rule[1:]
    return DamagedFileError(
        f"{path} is damaged: {where}{rule}", got=_shorten(got), cure=files.RESTORE
    )


def _value_at(value: Any, place: str) -> Any:
    """Return the value at a place such as `.shards[0].name`; None if it cannot be found."""
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", place):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value


def _shorten(value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
