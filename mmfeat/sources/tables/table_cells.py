"""Cells of media and texts: paths, URLs, bytes, base64 and data URLs."""

import re
from contextlib import suppress
from typing import Any, NamedTuple

from mmfeat.errors import RecordError
from mmfeat.media import ReadPolicy
from mmfeat.records import (
    Base64Ref,
    FileRef,
    MediaRef,
    ParquetCellRef,
    TextRef,
    check_text_size,
    is_utf8,
    to_json_value,
)
from mmfeat.sources.tables.formats import UnreadBytes
from mmfeat.system import is_url

_MAX_PATH_CHARACTERS = 1 << 16
"""Limit of a path or URL, above that of file systems and servers."""

_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{40,}+={0,2}[\r\n]*")
_BASE64_STARTS = (
    "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk0", "Qk1", "Qk2", "SUkq", "TU0AK",  # images
    "ZkxhQw", "T2dnUw", "SUQz", "//s", "//u", "Rk9STQ",  # audio
)  # fmt: skip
"""First characters of base64 of an image or audio file. A path without a dot may look like base64,
but hardly begins like one of these."""


class CellPosition(NamedTuple):
    """The position of a cell.

    Attributes:
        path: the file of the table.
        root: folder that relative paths in the table start from.
        row: row in the file.
        column: name of the column.
    """

    path: str
    root: str
    row: int
    column: str


def text_ref(value: Any, column: str) -> TextRef:
    """Return a reference to the text in a cell.

    Raises:
        RecordError: the value is no string, too long, or not UTF-8.
    """
    _require_string(value, column)
    check_text_size(len(value))
    if not is_utf8(value):
        raise RecordError("undecodable", f"column {column!r} is not UTF-8")
    return TextRef(value)


def media_ref(value: Any, position: CellPosition, policy: ReadPolicy) -> MediaRef | None:
    """Return a reference to the image or sound that a cell holds or names; None if there is none.

    Raises:
        RecordError: the value is no string, or names a file that must not be read.
    """
    column = position.column
    if isinstance(value, UnreadBytes):
        return _parquet_ref(value.path or "", position, policy)
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), str):
            return Base64Ref(value["bytes"], str(value.get("path") or ""))
        value = value.get("path")
        if value is None:
            return None
    _require_string(value, column)
    value = _strip_url(value)
    if value.startswith("data:"):
        header, _, content = value.partition(",")
        if not header.endswith(";base64"):
            raise RecordError("undecodable", f"column {column!r}: a data URL without base64")
        return Base64Ref(content)
    if _is_base64(value):
        return Base64Ref(value)
    if len(value) > _MAX_PATH_CHARACTERS:
        raise RecordError("unreadable", f"column {column!r}: a path of {len(value):,} letters")
    return FileRef(policy.complete_path(position.root, value))


def path_in_cell(value: Any) -> Any:
    """Return the path in a cell of media; None if it holds the media themselves."""
    if isinstance(value, UnreadBytes):
        return value.path
    if isinstance(value, dict):
        return to_json_value(value.get("path"))
    stripped = _strip_url(value) if isinstance(value, str) else ""
    is_content = stripped.startswith("data:") or _is_base64(stripped)
    return None if is_content else to_json_value(value)


def holds_media(value: Any, depth: int = 2) -> bool:
    """Return whether a value is a file as base64, or a list or struct of such."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and any(holds_media(item, depth - 1) for item in items)
    if not isinstance(value, str):
        return False
    value = _strip_url(value)
    return bool(_DATA_URL.match(value) or _is_base64(value))


def _parquet_ref(path: str, position: CellPosition, policy: ReadPolicy) -> ParquetCellRef:
    """Refer to a cell of bytes. If the bytes are null, `path` is read unless it is outside."""
    complete_path = ""
    path = _strip_url(path)
    if path:
        with suppress(RecordError):
            complete_path = policy.complete_path(position.root, path)
    return ParquetCellRef(position.path, position.row, position.column, path, complete_path)


def _strip_url(value: str) -> str:
    """Strip the spaces around a URL or base64. Those of a local path belong to its name."""
    stripped = value.strip()
    is_path = not (is_url(stripped) or stripped.startswith("data:") or _is_base64(stripped))
    return value if is_path else stripped


def _is_base64(value: str) -> bool:
    return value.startswith(_BASE64_STARTS) and bool(_BASE64.fullmatch(value))


def _require_string(value: Any, column: str) -> None:
    if not isinstance(value, str):
        kind = "bytes" if isinstance(value, UnreadBytes) else type(value).__name__
        detail = f"column {column!r} holds {kind}, not a string"
        raise RecordError("undecodable", detail)
