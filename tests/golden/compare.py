"""Compares two folders of outputs: bytes, but for JSON, where times and the like are left out."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

EXEMPT_FOLDERS = ("inputs", "console", "refused")
EXEMPT_FILES = ("report.html",)
"""Files that must exist; their content is not compared."""

DROPPED = {
    *("checksum", "seconds", "train_seconds", "train_rows_per_second", "score_rows_per_second"),
    *("peak_memory_mb", "measured", "mmfeat"),
}
"""Keys of JSON, and columns of tables, that hold times, speeds, memory and our version."""


def compare(base: Path, present: Path) -> dict[str, dict[str, str]]:
    """Stage → file → how its two versions differ; empty where they are equal."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted({*_names(base), *_names(present)}):
        found.setdefault(name.split("/")[0], {})[name] = _difference(base / name, present / name)
    return found


def show(found: dict[str, dict[str, str]]) -> int:
    """Print a table; returns the number of files that differ."""
    print(f"{'stage':<10}{'files':>8}{'equal':>8}{'different':>11}")
    files = different = 0
    for stage, names in found.items():
        differing = {name: how for name, how in names.items() if how}
        equal = len(names) - len(differing)
        print(f"{stage:<10}{len(names):>8}{equal:>8}{len(differing):>11}")
        for name, how in differing.items():
            print(f"    {name}: {how}")
        files, different = files + len(names), different + len(differing)
    print(f"golden: {files} files compared, {different} different")
    return different


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in EXEMPT_FOLDERS:
            yield name.as_posix()


def _difference(base: Path, present: Path) -> str:
    if not present.is_file():
        return "gone"
    if not base.is_file():
        return "new"
    one, other = base.read_bytes(), present.read_bytes()
    if one == other or base.name in EXEMPT_FILES:
        return ""
    if base.suffix in (".json", ".jsonl"):
        read = _json_lines if base.suffix == ".jsonl" else json.loads
        try:
            return ", ".join(_differing_keys(read(one), read(other), ""))
        except ValueError:
            return "not both are JSON"
    if base.suffix == ".parquet":
        return _differing_columns(one, other)
    return f"bytes ({len(one):,} and {len(other):,})"


def _json_lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


def _differing_keys(one: Any, other: Any, place: str) -> list[str]:
    """Places at which two values of JSON differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key, ...), other.get(key, ...)) for key in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(index, *values) for index, values in enumerate(zip(one, other, strict=True))]
    else:
        # As text, since NaN is no NaN.
        return [] if type(one) is type(other) and repr(one) == repr(other) else [place or "all"]
    kept = [pair for pair in pairs if pair[0] not in DROPPED]
    return [
        found for key, a, b in kept for found in _differing_keys(a, b, f"{place}.{key}".strip("."))
    ]


def _differing_columns(one: bytes, other: bytes) -> str:
    """Of a table with times in it the other columns alone are compared; of the rest the bytes."""
    a, b = (pq.read_table(io.BytesIO(content)) for content in (one, other))
    if a.column_names != b.column_names:
        return f"columns {a.column_names} and {b.column_names}"
    differing = [name for name in a.column_names if not _equal(a[name], b[name])]
    if timed := DROPPED & {*a.column_names}:
        return ", ".join(name for name in differing if name not in timed)
    return ", ".join(differing) or "bytes alone"


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return one.type == other.type and repr(one.to_pylist()) == repr(other.to_pylist())
