"""S3 that fails: input, shards, features, model and predictions are on it, and stay whole."""

import itertools
from pathlib import Path

import pytest
import s3fs
from tenacity import wait_none

from mmfeat.cli.commands import load_main
from mmfeat.errors import MmfeatError
from mmfeat.system import is_storage_error
from pipelines import attempts
from tests.crash.power_cut import assert_receipts_are_true
from tests.object_stores.conftest import ENCODERS, RECIPE, write_dataset
from tests.object_stores.s3_server import FAULTS

RECORDS = 20
STAGES = ("shard", "extract", "train", "score")
DATA = (".tar", ".parquet", ".arrow", ".safetensors")
"""Ends of the names of files that hold no times and no paths."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(attempts, "wait_exponential", lambda **_: wait_none())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


def run(stage, root):
    """Run a stage of a chain below a root; each reads what the last one wrote."""
    s3fs.S3FileSystem.clear_instance_cache()
    paths = {name: f"{root}/{name}" for name in STAGES}
    table = f"{root}/raw/table.csv"
    arguments = {
        "shard": [table, paths["shard"], "--samples-per-shard", "5", "--processes", "1"],
        "extract": [paths["shard"], paths["extract"], *ENCODERS, "--processes", "1"],
        "train": [paths["extract"], paths["train"], *RECIPE],
        "score": [paths["train"], paths["extract"], paths["score"]],
    }
    load_main(stage)(arguments[stage])


def write_local(path, content):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(content)


def read_bucket():
    """Return the objects of the bucket: name → content."""
    fs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    found = {name: fs.cat_file(name) for name in fs.find("bucket")}
    return {name.removeprefix("bucket/"): content for name, content in found.items()}


def assert_bucket_equals(folder, stages):
    """Check that the stores of the bucket have the files of local ones, with equal data."""
    objects = read_bucket()
    for stage in stages:
        local = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in (folder / stage).rglob("*")
            if path.is_file()
        }
        assert {name for name in objects if name.startswith(f"{stage}/")} == {*local}
        for name, content in local.items():
            if name.endswith(DATA):
                assert objects[name] == content, name


def assert_stores_are_whole():
    """Check that receipts and manifests vouch for whole objects only."""
    objects = read_bucket()
    for stage in ("shard", "extract", "score"):
        tree = {n.split("/", 1)[1]: c for n, c in objects.items() if n.startswith(f"{stage}/")}
        claims = {name for name, content in tree.items() if b'"attempt"' in content}
        assert_receipts_are_true({n: c for n, c in tree.items() if n not in claims})


@pytest.fixture
def make_local(tmp_path):
    """Runs stages on the local disk; returns their root."""

    def make(stages):
        write_dataset(str(tmp_path / "raw"), RECORDS, write_local)
        for stage in stages:
            run(stage, tmp_path)
        return tmp_path

    return make


@pytest.fixture
def bucket(server):
    """The root of a dataset on the server."""
    write_dataset("bucket/raw", RECORDS, s3fs.S3FileSystem().pipe_file)
    return "s3://bucket"


@pytest.mark.parametrize("kind", ["503", "cut"])
def test_shards_and_features_of_a_failing_server_equal_local_ones(make_local, bucket, server, kind):
    local = make_local(STAGES[:2])
    numbers = itertools.count(1)
    server.fail(lambda _: kind if next(numbers) % 7 == 0 else None)
    for stage in STAGES[:2]:
        run(stage, bucket)
    assert server.failed > 10
    server.fail(lambda _: None)
    assert_stores_are_whole()
    assert_bucket_equals(local, STAGES[:2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("every", [5, 11])
def test_all_stores_of_a_failing_server_equal_local_ones(make_local, bucket, server, kind, every):
    local = make_local(STAGES)
    server.fail(lambda number: kind if number % every == 0 else None)
    for stage in STAGES:
        run(stage, bucket)
    server.fail(lambda _: None)
    assert_stores_are_whole()
    assert_bucket_equals(local, STAGES)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_an_outage_in_the_middle_costs_only_a_rerun(make_local, bucket, server, share, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    local = make_local(STAGES[:2])
    for stage in STAGES[:2]:
        server.requests.clear()
        run(stage, bucket)
        last = int(share * len(server.requests))
        s3fs.S3FileSystem().rm(f"bucket/{stage}", recursive=True)
        server.fail(lambda number, last=last: "reset" if number > last else None)
        with pytest.raises(Exception) as caught:
            run(stage, bucket)
        assert server.failed
        assert isinstance(caught.value, MmfeatError) or is_storage_error(caught.value)
        server.fail(lambda _: None)
        assert_stores_are_whole()
        run(stage, bucket)
    assert_bucket_equals(local, STAGES[:2])
