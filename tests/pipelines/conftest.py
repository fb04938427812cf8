"""What the tests of stores look at: their rows, their samples, all that must not change."""

import json
import os
import random
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from tenacity import wait_none

from tests.faults import Flaky, Pictures


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], bool]]]:
    """A disk of its own and a function that changes how it is mounted; skips where forbidden."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if os.geteuid() or not mount("size=200k"):
        pytest.skip("a disk of its own needs root and the right to mount")
    yield place, mount
    subprocess.run(["umount", "--lazy", str(place)], check=False)


@pytest.fixture
def web_pictures(picture: Callable[..., bytes]) -> Iterator[Pictures]:
    """A web server for pictures that can be told to stop answering."""
    with Pictures(picture()) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.free.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    """The store that fails, not failing yet, and empty."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(Flaky, "store", {})
    monkeypatch.setattr(Flaky, "pseudo_dirs", [""])
    monkeypatch.setattr(Flaky, "chance", random.Random(11))
    monkeypatch.setattr(Flaky, "part", 0.0)
    monkeypatch.setattr(Flaky, "failed", 0)
    monkeypatch.setattr(Flaky, "read_only", False)
    monkeypatch.setattr("pipelines.attempts.wait_exponential", lambda **words: wait_none())
    monkeypatch.setattr("mmfeat.media.fetch.RETRY_PAUSE", 0)
    return Flaky
