"""Conditional writes, against servers that enforce them."""

import pytest
import s3fs
from gcsfs.core import GCSFileSystem  # the other one asks a real server what a bucket is
from moto.server import ThreadedMotoServer

from mmfeat.storage import conditional, files
from mmfeat.storage.claim import ShardTakenError
from mmfeat.storage.conditional import GcsStore, ObjectChangedError, S3Store, conditional_store
from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.receipts import Receipt, read_receipt
from tests.object_stores.gcs_server import GcsApp, make_gcs_server


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


@pytest.fixture
def gcs():
    """The file system of a server that enforces the conditions of Cloud Storage."""
    with make_gcs_server(GcsApp()).run() as url:
        yield GCSFileSystem(endpoint_url=url, token="anon", skip_instance_cache=True)


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
