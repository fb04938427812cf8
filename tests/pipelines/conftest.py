"""What the tests of stores look at: their rows, their samples, all that must not change."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def rows_of() -> Callable[[Path], list[dict[str, Any]]]:
    """Gives the rows of a store's tables, in its order."""

    def rows(folder: Path) -> list[dict[str, Any]]:
        tables = sorted(folder.glob("*.parquet"))
        return [row for table in tables for row in pq.read_table(table).to_pylist()]

    return rows


@pytest.fixture
def samples_of() -> Callable[[Path], dict[str, dict[str, bytes]]]:
    """Gives the samples of a store: key → extension → content."""

    def samples(folder: Path) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path, encoding="utf-8") as tar:
                for member in tar:
                    stem, _, extension = member.name.rpartition("/")[2].partition(".")
                    key = member.name.removesuffix(f".{extension}")
                    assert key.endswith(stem)
                    assert extension not in found.setdefault(key, {}), member.name
                    found[key][extension] = tar.extractfile(member).read()
        return found

    return samples


@pytest.fixture
def whole_of() -> Callable[[Path], dict[str, Any]]:
    """Gives all files of a store, whatever their names, without the times that runs took."""

    def whole(folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                found[name] = "a folder"
            elif path.suffix == ".json":
                found[name] = json.loads(path.read_bytes())
                found[name].pop("seconds", None)
            else:
                found[name] = path.read_bytes()
        return found

    return whole
