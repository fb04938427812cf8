"""Tables next to tars: `00000.parquet` beside `00000.tar`, written by mmfeat or img2dataset.

Such a table also lists the records that are not in the tar, each with its reason.
"""

import json
import posixpath
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.records import clean_metadata, parse_problems, rows_to_python, to_json_value
from mmfeat.shards import find_standard_columns
from mmfeat.storage import SMALL_BYTES, files, read_intact_document
from mmfeat.store import (
    MANIFEST_FILE,
    Receipt,
    check_file,
    check_manifest,
    damage_errors,
    open_parquet,
    retry_shards,
)

Row = Mapping[str, Any]


def sidecar_path(tar: str) -> str:
    """Return the path of the table next to a tar."""
    return posixpath.splitext(tar)[0] + ".parquet"


def read_sidecar(path: str) -> dict[str, list[Row]]:
    """Return key → rows of the table next to a tar; empty if there is no such table.

    Raises:
        DamagedFileError: the table is damaged.
    """
    if not files.exists(path):
        return {}
    with (
        damage_errors(path, "a valid Parquet file, as all tables next to tars"),
        files.open_input(path) as file,
        open_parquet(file) as table,
    ):
        names = table.schema_arrow.names
        key = next((name for name in ("__key__", "key") if name in names), None)
        if key is None:
            return {}
        rows = rows_to_python(table.read())
    rows_by_key: dict[str, list[Row]] = {}
    for row in rows:
        rows_by_key.setdefault(str(row[key]), []).append(row)
    return rows_by_key


def check_own_files(tar: str) -> None:
    """Check a tar and its table against the receipt next to them, if mmfeat wrote one.

    Raises:
        DamagedFileError: a file of the shard is missing or has other bytes.
    """
    folder, name = posixpath.split(tar)
    path = files.join(folder, f"{posixpath.splitext(name)[0]}_stats.json")
    if receipt := read_intact_document(path, Receipt, SMALL_BYTES):
        for file, info in receipt.files.items():
            check_file(files.join(folder, file), info)


def is_own_row(row: Row | None) -> bool:
    """Return whether mmfeat wrote the row."""
    return row is not None and "__key__" in row


class TarStore:
    """Reads rows of the tables in a folder, with what the manifest of a store, if any, says.

    Args:
        folder: the folder.
        tars: the tars of the input.
    """

    def __init__(self, folder: str, tars: Collection[str]) -> None:
        manifest = _read_own_manifest(folder)
        names = retry_shards(manifest) if manifest else []
        self._newest: dict[str, str] = {}
        for tar in (files.join(folder, f"{name}.tar") for name in names):
            if tar in tars:
                self._newest |= dict.fromkeys(read_sidecar(sidecar_path(tar)), tar)
        self._kinds: Mapping[str, str] = manifest.get("columns", {})
        names_of_input = manifest.get("kinds", self._kinds)
        if len(names_of_input) != len(self._kinds):
            raise DamagedFileError(
                f"the manifest of {folder} must have a kind for each of its "
                f"{len(self._kinds)} columns",
                got=len(names_of_input),
                cure="Restore it from a copy, or run mmfeat verify on the store",
            )
        self._names = dict(zip(self._kinds, names_of_input, strict=True))
        self._standard_columns = cache(find_standard_columns)

    def is_replaced(self, key: str, tar: str) -> bool:
        """Return whether a retry shard of the input has a newer row of a record than this tar."""
        return self._newest.get(key, tar) != tar

    def parse_row(self, row: Row) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
        """Return metadata and problems of a row."""
        status = row.get("status")
        if is_own_row(row):
            problems = parse_problems(_text_of(row, "reason"), _text_of(row, "error"))
            if status == "failed" and not problems:
                problems = {"": ("missing", str(row.get("error") or ""))}
            return self._metadata(row), problems
        metadata, problems = clean_metadata(row)
        if status not in (None, "success"):
            reason = "not_found" if status == "failed_to_download" else "undecodable"
            detail = f"img2dataset: {row.get('error_message') or status}"
            problems = {"image": (reason, detail), **problems}
        return metadata, problems

    def _metadata(self, row: Row) -> dict[str, Any]:
        """Return the metadata of a row of mmfeat, with original names and values if known."""
        standard = self._standard_columns(tuple(row)) - self._kinds.keys()
        return {
            self._names.get(column, column): to_json_value(
                _original_value(value, self._kinds.get(column))
            )
            for column, value in row.items()
            if column not in standard
        }


def _read_own_manifest(folder: str) -> dict[str, Any]:
    """Return the manifest of a store of shards; empty if the folder is none.

    Raises:
        DamagedFileError: the manifest is damaged.
    """
    try:
        manifest = files.read_json(files.join(folder, MANIFEST_FILE))
    except DamagedFileError:
        return {}  # a manifest.json of another program
    if not isinstance(manifest, dict) or manifest.get("kind") != "shards":
        return {}
    check_manifest(folder, manifest)
    return manifest


def _text_of(row: Row, column: str) -> str | None:
    """Return a value that is a text in tables of mmfeat; None if it is none."""
    value = row.get(column)
    return value if isinstance(value, str) else None


def _original_value(value: Any, kind: str | None) -> Any:
    """Return a metadata value as it was before it became a cell: kind `json` is JSON text."""
    if kind == "json" and isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value
