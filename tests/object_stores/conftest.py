"""Servers of object stores for each test, and a dataset on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import gcsfs.retry
import pytest
import s3fs
from fsspec.registry import _registry
from gcsfs.core import GCSFileSystem  # the other one asks a real server what a bucket is

from tests.conftest import picture_bytes
from tests.object_stores.fault_server import FaultServer
from tests.object_stores.gcs_server import GcsApp, make_gcs_server
from tests.object_stores.s3_server import make_s3_server

ENCODERS = ("--encoder", "image=builtin:image", "--encoder", "text=builtin:text?dim=64")
RECIPE = ("--target", "label", "--hidden", "4", "--lr", "0.01", "--epochs", "2")


@dataclass
class ObjectStore:
    """An object store with an empty bucket, and its server.

    Attributes:
        root: URL of the bucket.
        server: the server.
        filesystem: class of its file system.
    """

    root: str
    server: FaultServer
    filesystem: Any

    def fs(self) -> Any:
        """Return a file system that remembers nothing of the bucket."""
        return self.filesystem(use_listings_cache=False, skip_instance_cache=True)

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.fs().pipe_file(f"bucket/{name}", content)

    def read_all(self) -> dict[str, bytes]:
        """Return the objects of the bucket: name → content."""
        fs = self.fs()
        return {name.removeprefix("bucket/"): fs.cat_file(name) for name in fs.find("bucket")}

    def remove(self, folder: str) -> None:
        """Remove a folder."""
        self.fs().rm(f"bucket/{folder}", recursive=True)

    def forget(self) -> None:
        """Let the next command ask the server for everything, as a new process does."""
        self.filesystem.clear_instance_cache()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """S3. The environment has its address."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = make_s3_server()
    with server.run() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = ObjectStore("s3://bucket", server, s3fs.S3FileSystem)
        store.forget()
        fs = store.fs()
        if fs.exists("bucket"):  # moto keeps it between servers
            fs.rm("bucket", recursive=True)
        fs.mkdir("bucket")
        yield store
    store.forget()


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Cloud Storage. The environment has its address."""
    monkeypatch.setitem(_registry, "gs", GCSFileSystem)
    server = make_gcs_server(GcsApp())
    with server.run() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        store = ObjectStore("gs://bucket", server, GCSFileSystem)
        store.forget()
        yield store
    store.forget()


@pytest.fixture(params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each of the object stores."""
    found: ObjectStore = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients not wait before they repeat a request."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")

    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=sleep))


def write_dataset(folder: str, records: int, write: Callable[[str, bytes], object]) -> None:
    """Write a table of images and texts of two classes, and the images.

    Args:
        folder: the folder.
        records: number of rows.
        write: writes a file: path and content.
    """
    lines = ["file_name,text,label,split"]
    for number in range(records):
        label = ("red", "blue")[number % 2]
        split = ("train", "train", "train", "val", "test")[number // 2 % 5]
        colour = (200, 20, number % 256) if label == "red" else (20, number % 256, 200)
        write(f"{folder}/{number}.png", picture_bytes(colour, size=8))
        lines.append(f"{number}.png,a {label} thing {number},{label},{split}")
    write(f"{folder}/table.csv", "\n".join(lines).encode() + b"\n")
