"""Two runs in an object store: whatever happens between them, receipts vouch for their files."""

import contextlib
import hashlib
import itertools
import json

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.errors import MmfeatError
from mmfeat.storage import conditional, files
from mmfeat.storage.claim import ShardTakenError
from mmfeat.store.attempt import ShardAttempt
from mmfeat.store.directory import open_run
from mmfeat.store.receipts import Receipt, read_receipt
from tests.mmfeat.storage.versions import (
    Interleaving,
    KilledError,
    VersionedFileSystem,
    VersionedStore,
)

RECEIPT = "00000_stats.json"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _protocol(monkeypatch):
    fsspec.register_implementation("versioned", VersionedFileSystem, clobber=True)
    monkeypatch.setitem(conditional.STORES, "versioned", VersionedStore)


@pytest.fixture
def bucket():
    return f"versioned://bucket-{next(_numbers)}"


def make_shard(folder, content, fresh=False):
    """Make a shard of two files, as one attempt of a run."""
    attempt = ShardAttempt(folder, "00000", fresh=fresh)
    for name in ("data/00000.a", "data/00000.b"):
        with attempt.create(name) as output:
            output.write(content)
    attempt.commit(Receipt(shard="00000", config_hash="h", records=1, out=1))


def read_objects(folder):
    prefix = f"{VersionedFileSystem._strip_protocol(folder)}/"
    return {
        name.removeprefix(prefix): file.getvalue()
        for name, file in VersionedFileSystem.store.items()
        if name.startswith(prefix)
    }


def assert_receipt_is_true(folder):
    objects = read_objects(folder)
    document = json.loads(objects.get(RECEIPT, b"{}"))
    for name, info in document.get("files", {}).items():
        assert hashlib.sha256(objects[name]).hexdigest() == info["sha256"], name


def test_a_shard_is_made(bucket):
    make_shard(bucket, b"one")
    assert read_receipt(bucket, "00000").files["data/00000.a"]["bytes"] == 3
    make_shard(bucket, b"three")
    assert read_receipt(bucket, "00000").files["data/00000.a"]["bytes"] == 5
    assert_receipt_is_true(bucket)


def test_a_fresh_shard_needs_no_claim(bucket):
    make_shard(bucket, b"one", fresh=True)
    assert read_receipt(bucket, "00000").files["data/00000.a"]["bytes"] == 3
    make_shard(bucket, b"three", fresh=True)  # it is claimed after all
    assert read_receipt(bucket, "00000").files["data/00000.a"]["bytes"] == 5
    assert_receipt_is_true(bucket)


def test_an_attempt_that_finds_a_later_file_is_tried_again(bucket):
    late = ShardAttempt(bucket, "00000", fresh=True)
    with late.create("data/00000.b") as output:
        output.write(b"late")
    with pytest.raises(OSError, match="another attempt"):
        make_shard(bucket, b"made", fresh=True)
    make_shard(bucket, b"made", fresh=True)
    with pytest.raises(ShardTakenError):
        late.commit(Receipt(shard="00000", config_hash="h", records=1, out=1))
    assert_receipt_is_true(bucket)


def test_a_late_attempt_changes_nothing(bucket):
    late = ShardAttempt(bucket, "00000")
    with late.create("data/00000.a") as output:
        output.write(b"late")
    make_shard(bucket, b"made")
    before = read_objects(bucket)
    with pytest.raises(ShardTakenError, match="another run"), late.create("data/00000.b") as output:
        output.write(b"late")
    with pytest.raises(ShardTakenError, match="another run"):
        late.commit(Receipt(shard="00000", config_hash="h", records=1, out=1))
    assert read_objects(bucket) == before


@pytest.mark.parametrize("fresh", [False, True])
def test_lost_answers_of_the_store_do_not_stop_an_attempt(bucket, monkeypatch, fresh):
    monkeypatch.setattr(VersionedFileSystem, "lose_answers", 1)
    with contextlib.suppress(BlockingIOError):  # it is tried again
        make_shard(bucket, b"one", fresh)
    if read_receipt(bucket, "00000") is None:
        make_shard(bucket, b"one", fresh)
    assert read_receipt(bucket, "00000") is not None
    assert_receipt_is_true(bucket)


orders = st.lists(st.integers(0, 2), max_size=60)
kills = st.dictionaries(st.integers(0, 2), st.integers(1, 25), max_size=2)


@settings(max_examples=300, deadline=None)
@given(orders, kills, st.booleans(), st.tuples(*[st.booleans()] * 3))
def test_receipts_are_true_at_any_time_whatever_the_order_of_runs(order, kills, equal, fresh):
    folder = f"versioned://bucket-{next(_numbers)}"
    interleaving = Interleaving(order, kills, lambda: assert_receipt_is_true(folder))
    contents = [b"one"] * 3 if equal else [b"one", b"two", b"six"]
    VersionedFileSystem.before_call = staticmethod(interleaving.before_call)
    try:
        interleaving.run(
            [
                lambda c=c, f=f: make_shard(folder, c, f)
                for c, f in zip(contents, fresh, strict=True)
            ]
        )
    finally:
        VersionedFileSystem.before_call = staticmethod(lambda: None)
    for error in interleaving.errors.values():
        assert isinstance(error, ShardTakenError | KilledError | BlockingIOError), error
    if not interleaving.errors:
        assert read_receipt(folder, "00000")
    make_shard(folder, b"last")
    assert read_receipt(folder, "00000").files["data/00000.a"]["bytes"] == 4
    assert_receipt_is_true(folder)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=30), st.booleans())
def test_a_folder_belongs_to_the_first_of_two_runs(order, equal):
    folder = f"versioned://bucket-{next(_numbers)}"
    interleaving = Interleaving(order)
    configs = [{"n": 1}, {"n": 1 if equal else 2}]
    hashes = {}
    VersionedFileSystem.before_call = staticmethod(interleaving.before_call)
    try:
        interleaving.run(
            [
                lambda i=i, c=config: hashes.update({i: open_run(folder, "shards", c)})
                for i, config in enumerate(configs)
            ]
        )
    finally:
        VersionedFileSystem.before_call = staticmethod(lambda: None)
    if equal:
        assert hashes[0] == hashes[1]
    else:
        assert len(hashes) == len(interleaving.errors) == 1
        (error,) = interleaving.errors.values()
        assert isinstance(error, MmfeatError)
        assert "another configuration" in str(error)
    run = files.read_json(files.join(folder, "config.json"))
    assert run["hash"] in hashes.values()
