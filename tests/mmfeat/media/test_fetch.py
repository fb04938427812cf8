import base64
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import fsspec
import pytest

from mmfeat.errors import RecordError
from mmfeat.media.fetch import HttpSettings, MediaFetcher
from mmfeat.media.read_policy import ReadPolicy
from mmfeat.records import REASONS
from mmfeat.records.media_ref import Base64Ref, BytesRef, FileRef, TarMemberRef, TextRef

FETCHER = MediaFetcher(1000, HttpSettings(timeout=5, retries=0), ReadPolicy(allow_private=True))


def reason_of(ref):
    with pytest.raises(RecordError) as caught:
        FETCHER.fetch(ref)
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_every_kind_of_reference_is_fetched(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"xxabcxx")
    with fsspec.open("memory://contents/a.bin", "wb") as file:
        file.write(b"remote")
    assert FETCHER.fetch(FileRef(str(tmp_path / "a.bin"))) == b"xxabcxx"
    assert FETCHER.fetch(FileRef("memory://contents/a.bin")) == b"remote"
    assert FETCHER.fetch(TarMemberRef(str(tmp_path / "a.bin"), "k.txt", 2, 3)) == b"abc"
    assert FETCHER.fetch(TextRef("é")) == "é".encode()
    assert FETCHER.fetch(BytesRef(b"x")) == b"x"
    assert FETCHER.fetch(Base64Ref(base64.encodebytes(b"y" * 99).decode())) == b"y" * 99


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.png", "not_found"),
        ("a/gone.png", "not_found"),
        ("folder", "unreadable"),
        ("file/below.png", "unreadable"),
        ("nul\0.png", "unreadable"),
        ("\ud800.png", "unreadable"),
        ("x" * 300, "unreadable"),
        ("loop", "unreadable"),
        ("pipe", "unreadable"),
        ("empty", "empty"),
        ("large", "too_large"),
        ("hole", "too_large"),
    ],
)
def test_bad_files_have_a_reason_and_do_not_block(tmp_path, path, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"x" * 1001)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 40)
    assert reason_of(FileRef(f"{tmp_path}/{path}")) == reason


def test_devices_are_refused():
    assert reason_of(FileRef("/dev/zero")) == "unreadable"
    assert reason_of(FileRef("/dev/null")) == "unreadable"


def test_bad_urls_have_a_reason():
    assert reason_of(FileRef("memory://contents/gone")) == "not_found"
    assert reason_of(FileRef("nosuch://host/x")) == "unreadable"
    assert reason_of(FileRef("s3:///")) == "unreadable"
    with fsspec.open("memory://contents/large", "wb") as file:
        file.write(b"x" * 1001)
    assert reason_of(FileRef("memory://contents/large")) == "too_large"


def test_values_are_size_limited_and_validated():
    assert reason_of(Base64Ref("not base64!")) == "undecodable"
    assert reason_of(Base64Ref("AAAAA")) == "undecodable"
    assert reason_of(Base64Ref("é" * 8)) == "undecodable"
    assert reason_of(Base64Ref("")) == "empty"
    assert reason_of(TextRef("\udce9")) == "undecodable"
    assert reason_of(TextRef("x" * 1001)) == "too_large"
    assert reason_of(BytesRef(b"x" * 1001)) == "too_large"


def test_truncated_tar_member_is_damaged(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x" * 600)
    assert reason_of(TarMemberRef(str(tmp_path / "a.tar"), "k.png", 512, 100)) == "damaged_shard"
    assert reason_of(TarMemberRef(str(tmp_path / "a.tar"), "k.png", 512, 1001)) == "too_large"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/a.png" else 404)
        self.end_headers()
        self.wfile.write(b"by http" if self.path == "/a.png" else b"<html>")

    def log_message(self, *arguments):
        pass


def test_files_are_fetched_over_http():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        root = f"http://127.0.0.1:{server.server_port}"
        assert FETCHER.fetch(FileRef(f"{root}/a.png")) == b"by http"
        assert reason_of(FileRef(f"{root}/gone.png")) == "not_found"
    finally:
        server.shutdown()
        server.server_close()
