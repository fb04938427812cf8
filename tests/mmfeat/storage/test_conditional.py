"""Conditional writes, against servers that enforce them."""

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import s3fs
from gcsfs.core import GCSFileSystem  # the other one asks a real server what a bucket is
from moto.server import ThreadedMotoServer

from mmfeat.storage import conditional, files
from mmfeat.storage.claim import ShardTakenError
from mmfeat.storage.conditional import GcsStore, ObjectChangedError, S3Store, conditional_store
from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.receipts import Receipt, read_receipt


@pytest.fixture
def s3(monkeypatch):
    """The file system of a server that enforces the conditions of S3."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.makedirs("bucket", exist_ok=True)  # moto keeps it between servers
    yield fs
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


class _GcsHandler(BaseHTTPRequestHandler):
    """The part of the JSON API of Cloud Storage that uploads and describes objects."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        *_, name = (urlsplit(self.path).path + "/////").split("/")[:7]
        found = self.server.objects.get(unquote(name))
        self._answer(200 if found else 404, found and found[0])

    def do_POST(self):
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self._read_body()
        if query["uploadType"] == "multipart":
            metadata, body = _split_multipart(body)
            query |= metadata
        present = self.server.objects.get(query["name"])
        generation = present[0]["generation"] if present else "0"
        if query.get("ifGenerationMatch", generation) != generation:
            return self._answer(412)
        facts = {"name": query["name"], "bucket": "bucket", "size": str(len(body))}
        facts["generation"] = str(next(self.server.generations))
        self.server.objects[query["name"]] = (facts, body)
        self._answer(200, facts)

    def _read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status, facts=None):
        text = json.dumps(facts or {"error": {"code": status}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


def _split_multipart(body):
    _, metadata, content, _ = body.split(b"--==0==")
    metadata = json.loads(metadata.split(b"\n\n", 1)[1])
    return metadata, content.split(b"\n\n", 1)[1].removesuffix(b"\n")


@pytest.fixture
def gcs():
    """The file system of a server that enforces the conditions of Cloud Storage."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _GcsHandler)
    server.objects, server.generations = {}, itertools.count(1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield GCSFileSystem(endpoint_url=endpoint, token="anon", skip_instance_cache=True)
    server.shutdown()


@pytest.fixture(params=[(S3Store, "s3"), (GcsStore, "gcs")], ids=["s3", "gcs"])
def store(request):
    kind, name = request.param
    return kind(request.getfixturevalue(name))


@pytest.mark.parametrize("max_memory", [1 << 20, 0], ids=["bytes", "stream"])
def test_an_upload_replaces_only_the_expected_version(store, tmp_path, monkeypatch, max_memory):
    monkeypatch.setattr(conditional, "_MAX_MEMORY", max_memory)
    name = f"bucket/{tmp_path.name}/x"
    paths = {}
    for text in ("one", "two", "three"):
        paths[text] = tmp_path / text
        paths[text].write_text(text)
    assert store.version(name) is None
    store.upload(str(paths["one"]), name, None)
    first = store.version(name)
    with pytest.raises(ObjectChangedError):
        store.upload(str(paths["two"]), name, None)
    store.upload(str(paths["two"]), name, first)
    second = store.version(name)
    assert second not in (None, first)
    with pytest.raises(ObjectChangedError):
        store.upload(str(paths["three"]), name, first)
    assert store.version(name) == second


def test_a_shard_in_s3_belongs_to_its_last_attempt(s3):
    assert isinstance(conditional_store("s3://bucket/store"), S3Store)
    late = ShardAttempt("s3://bucket/store", "00000")
    with late.create("00000.a") as output:
        output.write(b"late")
    attempt = ShardAttempt("s3://bucket/store", "00000")
    with attempt.create("00000.a") as output:
        output.write(b"made")
    receipt = Receipt(shard="00000", config_hash="h", records=1, out=1)
    with pytest.raises(ShardTakenError):
        late.commit(receipt)
    attempt.commit(receipt)
    assert read_receipt("s3://bucket/store", "00000") is not None
    assert files.open_input("s3://bucket/store/00000.a").read() == b"made"
