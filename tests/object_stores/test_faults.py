"""Object stores that fail: input, shards, features, model and predictions stay whole."""

import itertools
import random
from pathlib import Path

import pytest
import s3fs
from tenacity import wait_none

from mmfeat.cli.commands import load_main
from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.system import is_storage_error
from pipelines import attempts
from tests.crash.power_cut import assert_receipts_are_true
from tests.object_stores.conftest import ENCODERS, RECIPE, write_dataset
from tests.object_stores.fault_server import FAULTS

RECORDS = 20
STAGES = ("shard", "extract", "train", "score")
DATA = (".tar", ".parquet", ".arrow", ".safetensors")
"""Ends of the names of files that hold no times and no paths."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch, short_waits):
    monkeypatch.setattr(attempts, "wait_exponential", lambda **_: wait_none())


def run(stage, root):
    """Run a stage of a chain below a root; each reads what the last one wrote."""
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


def assert_bucket_equals(objects, folder, stages):
    """Check that the stores of the bucket have the files of local ones, with equal data."""
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


def assert_stores_are_whole(objects):
    """Check that receipts and manifests vouch for whole objects only."""
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
def bucket(store):
    """The store, with the dataset."""
    write_dataset("raw", RECORDS, store.write)
    store.forget()
    return store


def run_and_compare(bucket, stages, local):
    """Run stages on a bucket that may fail, then compare what it has with local stores."""
    for stage in stages:
        bucket.forget()
        run(stage, bucket.root)
    bucket.server.heal()
    objects = bucket.read_all()
    assert_stores_are_whole(objects)
    assert_bucket_equals(objects, local, stages)


@pytest.mark.parametrize("kind", ["503", "cut", "lost"])
def test_shards_and_features_of_a_failing_server_equal_local_ones(make_local, bucket, kind):
    local = make_local(STAGES[:2])
    numbers = itertools.count(1)
    bucket.server.fail(lambda _: kind if next(numbers) % 7 == 0 else None)
    run_and_compare(bucket, STAGES[:2], local)
    assert bucket.server.failed > 10


@pytest.mark.parametrize("kind", FAULTS)
def test_a_large_object_is_whole_although_requests_fail(store, kind):
    content = random.Random(0).randbytes(6 << 20)  # gcsfs uploads it in pieces
    store.server.fail(lambda number: kind if number % 2 == 0 else None)
    with files.create(f"{store.root}/large") as output:
        output.write(content)
    with files.open_input(f"{store.root}/large", len(content)) as file:
        assert file.read() == content
    assert store.server.failed
    store.server.heal()
    assert store.read_all() == {"large": content}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "every"), [*zip(FAULTS, (5, 11, 5, 11, 5, 11), strict=True)])
def test_all_stores_of_a_failing_server_equal_local_ones(make_local, bucket, kind, every):
    local = make_local(STAGES)
    bucket.server.fail(lambda number: kind if number % every == 0 else None)
    run_and_compare(bucket, STAGES, local)
    assert bucket.server.failed > 10


@pytest.mark.slow
@pytest.mark.parametrize(("share", "kind"), [(0.4, "reset"), (0.8, "503")])
def test_an_outage_in_the_middle_costs_only_a_rerun(make_local, bucket, share, kind, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    local = make_local(STAGES)
    for stage in STAGES:
        bucket.server.requests.clear()
        bucket.forget()
        run(stage, bucket.root)
        last = int(share * len(bucket.server.requests))
        bucket.remove(stage)
        bucket.forget()
        bucket.server.fail(lambda number, last=last: kind if number > last else None)
        with pytest.raises(Exception) as caught:
            run(stage, bucket.root)
        assert bucket.server.failed
        assert isinstance(caught.value, MmfeatError) or is_storage_error(caught.value)
        bucket.server.heal()
        assert_stores_are_whole(bucket.read_all())
        bucket.forget()
        run(stage, bucket.root)
    assert_bucket_equals(bucket.read_all(), local, STAGES)
