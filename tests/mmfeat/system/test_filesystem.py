import os

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import MmfeatError
from mmfeat.system import filesystem, is_http, is_url, protocols


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "/a/b",
        "http/a.png",
        "https.png",
        "run::2/a.png",
        "a::b",
        "~/x",
        "a b://c",
        "://x",
        "file:/a",
        "file:a",
        "local:/a",
        "",
    ],
)
def test_local_paths_are_no_urls(path):
    assert not is_url(path)
    assert not is_http(path)
    fs, name = filesystem(path)
    assert isinstance(fs, LocalFileSystem)
    assert os.path.normpath(name) == os.path.abspath(os.path.expanduser(path))


@pytest.mark.parametrize(
    "path", ["http://x/a", "HTTPS://x/a", "s3://b/k", "memory://a", "github://o:r@main/a"]
)
def test_urls_have_a_protocol(path):
    assert is_url(path)
    assert is_http(path) == (path[:4].lower() == "http")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.png", ("file",)),
        ("/a::b", ("file",)),
        ("FILE:///a", ("file",)),
        ("local:///a", ("file",)),
        ("gcs://b/k", ("gs",)),
        ("S3A://b/k", ("s3",)),
        ("https://h/a::b://c", ("https",)),
        ("zip://a::S3://b/c.zip", ("zip", "s3")),
        ("zip://a::/b/c.zip", ("zip", "file")),
        ("zip://a::b", ("zip", "file")),
        ("zip://a::simplecache::ftp://h/c.zip", ("zip", "simplecache", "ftp")),
        ("simplecache::s3://b/a", ("simplecache", "s3")),
    ],
)
def test_protocols_of_a_path(path, expected):
    assert protocols(path) == expected


def test_protocols_may_be_in_upper_case():
    with fsspec.open("memory://Upper/A.txt", "wb") as file:
        file.write(b"x")
    fs, name = filesystem("MEMORY://Upper/A.txt")
    assert fs.cat_file(name) == b"x"


def test_a_file_url_is_local(tmp_path):
    fs, name = filesystem(f"file://{tmp_path}/a")
    assert (type(fs), name) == (LocalFileSystem, f"{tmp_path}/a")


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(MmfeatError, match=r"cannot open nowhere://x"):
        filesystem("nowhere://x")
