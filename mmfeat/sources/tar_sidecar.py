"""Tables next to tars: `00000.parquet` beside `00000.tar`, written by mmfeat or img2dataset.

Such a table also lists the records that are not in the tar, each with its reason.
"""

import json
import posixpath
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.records import OWN_COLUMNS, REASONS, to_json_value
from mmfeat.store import files, retry_shards

Row = Mapping[str, Any]


def sidecar_path(tar: str) -> str:
    """Return the path of the table next to a tar."""
    return posixpath.splitext(tar)[0] + ".parquet"


def read_sidecar(path: str) -> dict[str, Row]:
    """Return key → row of the table next to a tar; empty if there is no such table.

    Raises:
        MmfeatError: the table is damaged.
    """
    if not files.exists(path):
        return {}
    try:
        with files.open_input(path) as file, pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            key = next((name for name in ("__key__", "key") if name in names), None)
            if key is None:
                return {}
            rows = table.read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise MmfeatError(f"the table next to a tar cannot be read: {path}: {error}") from error
    return {str(row[key]): row for row in rows}


def is_own_row(row: Row | None) -> bool:
    """Return whether mmfeat wrote the row."""
    return row is not None and "__key__" in row


def parse_row(row: Row) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """Return metadata and problems of a row."""
    problems: dict[str, tuple[str, str]] = {}
    status = row.get("status")
    if is_own_row(row):
        error = str(row.get("error") or "")
        for label in str(row.get("reason") or "").split(", "):
            slot, _, reason = label.rpartition(":")
            if reason in REASONS:
                problems[slot] = (reason, _find_detail(error, label))
        if status == "failed" and not problems:
            problems[""] = ("missing", error)
        own = {*OWN_COLUMNS, *(name for name in row if name.endswith(("_status", "_sha256")))}
        return to_json_value({k: v for k, v in row.items() if k not in own}), problems
    if status not in (None, "success"):
        reason = "not_found" if status == "failed_to_download" else "undecodable"
        problems["image"] = (reason, f"img2dataset: {row.get('error_message') or status}")
    return to_json_value(dict(row)), problems


def _find_detail(error: str, label: str) -> str:
    """Return the detail of one problem from an error such as `text:empty: …; json:…`."""
    details = (part for part in error.split("; ") if part.startswith(f"{label}: "))
    return next(details, "").removeprefix(f"{label}: ")


class TarStore:
    """What the manifest of a store of mmfeat, if there is one, says about the tars of a folder.

    Attributes:
        retry_shards: shards that `--retry-failed` added.
        retried_keys: keys in these shards.
    """

    def __init__(self, folder: str) -> None:
        manifest = files.read_json(files.join(folder, "manifest.json"))
        if not isinstance(manifest, dict) or manifest.get("kind") != "shards":
            manifest = {}
        self.retry_shards = retry_shards(manifest) if manifest else []
        tables = (files.join(folder, f"{shard}.parquet") for shard in self.retry_shards)
        self.retried_keys = frozenset(key for table in tables for key in read_sidecar(table))
        self._columns: Mapping[str, str] = manifest.get("columns", {})
        self._kinds: Mapping[str, str] | None = manifest.get("kinds")

    def metadata(self, row: Row) -> dict[str, Any] | None:
        """Return the original metadata of a row; None without a manifest."""
        if self._kinds is None:
            return None
        return {
            name: to_json_value(_original_value(row.get(column), kind))
            for column, (name, kind) in zip(self._columns, self._kinds.items(), strict=True)
        }


def _original_value(value: Any, kind: str) -> Any:
    """Return a metadata value as it was before it became a cell: kind `json` is JSON text."""
    if kind == "json" and isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value
