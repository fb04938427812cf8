"""An S3 server for each test, and a dataset on it."""

from collections.abc import Callable, Iterator

import pytest
import s3fs

from tests.conftest import picture_bytes
from tests.object_stores.s3_server import S3Server

ENCODERS = ("--encoder", "image=builtin:image", "--encoder", "text=builtin:text?dim=64")
RECIPE = ("--target", "label", "--hidden", "4", "--lr", "0.01", "--epochs", "2")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with an empty bucket; the environment has its address."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = S3Server()
    with server.run() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()
        fs = s3fs.S3FileSystem()
        if fs.exists("bucket"):  # moto keeps it between servers
            fs.rm("bucket", recursive=True)
        fs.mkdir("bucket")
        yield server
    s3fs.S3FileSystem.clear_instance_cache()


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
