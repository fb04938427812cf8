"""Fixtures for tests of stages: the content of stores, and faults."""

import json
import os
import random
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from tenacity import wait_none

from tests.faults import FlakyFileSystem, PictureServer, wait_for


@pytest.fixture
def read_rows() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads the rows of a store's tables, in order."""

    def rows(folder: Path) -> list[dict[str, Any]]:
        tables = sorted(folder.glob("*.parquet"))
        return [row for table in tables for row in pq.read_table(table).to_pylist()]

    return rows


@pytest.fixture
def read_samples() -> Callable[[Path], dict[str, dict[str, bytes]]]:
    """Reads the samples of a store: key → extension → content."""

    def samples(folder: Path) -> dict[str, dict[str, bytes]]:
        contents: dict[str, dict[str, bytes]] = {}
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path, encoding="utf-8") as tar:
                for member in tar:
                    stem, _, extension = member.name.rpartition("/")[2].partition(".")
                    key = member.name.removesuffix(f".{extension}")
                    assert key.endswith(stem)
                    assert extension not in contents.setdefault(key, {}), member.name
                    contents[key][extension] = tar.extractfile(member).read()
        return contents

    return samples


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, Any]]:
    """Reads all files of a store, JSON without checksums and without the seconds in receipts."""

    def read(folder: Path) -> dict[str, Any]:
        contents: dict[str, Any] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                contents[name] = "a folder"
            elif path.suffix == ".json":
                contents[name] = json.loads(path.read_bytes())
                for entry in ("seconds", "checksum"):
                    contents[name].pop(entry, None)
            else:
                contents[name] = path.read_bytes()
        return contents

    return read


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], bool]]]:
    """A small disk, and a function that changes its mount options. Needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if os.geteuid() or not mount("size=200k"):
        pytest.skip("needs root and the right to mount")
    yield disk, mount
    subprocess.run(["umount", "--lazy", str(disk)], check=False)


@pytest.fixture
def picture_server(picture: Callable[..., bytes]) -> Iterator[PictureServer]:
    """A running web server of pictures that a test can pause."""
    with PictureServer(picture()) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[FlakyFileSystem]:
    """The flaky file system, empty and without errors at first."""
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    monkeypatch.setattr(FlakyFileSystem, "store", {})
    monkeypatch.setattr(FlakyFileSystem, "pseudo_dirs", [""])
    monkeypatch.setattr(FlakyFileSystem, "rng", random.Random(11))
    monkeypatch.setattr(FlakyFileSystem, "error_rate", 0.0)
    monkeypatch.setattr(FlakyFileSystem, "errors", 0)
    monkeypatch.setattr(FlakyFileSystem, "read_only", False)
    monkeypatch.setattr("pipelines.attempts.wait_exponential", lambda **options: wait_none())
    monkeypatch.setattr("mmfeat.media.fetch.RETRY_PAUSE", 0)
    return FlakyFileSystem


@contextmanager
def run_worker_pool(programs: Path, **environment: str) -> Iterator[str]:
    """Run a pool of Beam whose workers are the `python` of a folder; yield its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    pool = subprocess.Popen(
        [*command, f"--service_port={port}"],
        env={"PATH": f"{programs}:/usr/bin:/bin", **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_for(pool, lambda: _answers(port), seconds=120)
        yield f"localhost:{port}"
    finally:
        pool.terminate()
        pool.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
