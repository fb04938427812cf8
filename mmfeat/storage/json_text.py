"""The text of a JSON document, in pieces: a manifest of a million shards has 350 MB.

It is that of `json.dumps(value, ensure_ascii=False, indent=2)`. That function takes much longer, as
it calls Python for each value.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

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
