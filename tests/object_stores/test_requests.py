"""Requests to object stores: how many each shard costs, apart from what each run costs."""

import pytest

from tests.object_stores.conftest import ENCODERS, RECIPE, write_dataset

RECORDS = 10
"""Records of a shard, each with one picture."""

SHARDS = (2, 6)
"""A shard costs the difference of two runs, divided by that of their shards."""


@pytest.fixture
def requests_of(mmfeat, store):
    """Runs a command and returns the methods of its requests."""

    def count(command, *arguments):
        store.forget()
        store.server.requests.clear()
        result = mmfeat(command, *arguments)
        assert result.returncode == 0, result.stderr
        return store.server.count()

    return count


def remove_rows(fs, store):
    """Remove everything from a feature store but the settings of its run and of its columns."""
    names = fs.find(store)
    fs.rm([name for name in names if not name.endswith(("/config.json", "/column.json"))])


def per_shard(counts):
    few, many = counts
    # gcsfs removes 100 objects of Google by one request, but each of an emulator by its own.
    methods = {*few, *many} - {"DELETE"}
    return {m: (many[m] - few[m]) / (SHARDS[1] - SHARDS[0]) for m in methods}


def test_requests_per_shard(requests_of, store, capfd):
    counts = {name: [] for name in ("shard", "extract", "again", "score")}
    for number in SHARDS:
        root = f"{store.root}/{number}"
        write_dataset(f"{number}/raw", number * RECORDS, store.write)
        shards, features, model = f"{root}/shards", f"{root}/features", f"{store.root}/model"
        flags = ("--samples-per-shard", RECORDS, "--processes", 1)
        counts["shard"].append(requests_of("shard", f"{root}/raw/table.csv", shards, *flags))
        extract = ("extract", shards, features, *ENCODERS, "--processes", 1)
        requests_of(*extract)  # it chooses settings, for which it reads the first shards twice
        remove_rows(store.fs(), f"bucket/{number}/features")
        counts["extract"].append(requests_of(*extract))
        counts["again"].append(requests_of(*extract))
        if number == SHARDS[0]:
            requests_of("train", features, model, *RECIPE)
        counts["score"].append(requests_of("score", model, features, f"{root}/predictions"))
    costs = {name: per_shard(found) for name, found in counts.items()}
    with capfd.disabled():
        for name, found in costs.items():
            print(f"\n{name}: {sum(found.values()):.1f} requests per shard, {found}", end="")
    # gcsfs asks for an object and for a folder at once, and takes back one if the other is there.
    assert all(abs(found.get("HEAD", 0)) <= 0.5 for found in costs.values())
    costs = {name: {**found, "HEAD": 0} for name, found in costs.items()}
    assert sum(costs["shard"].values()) <= RECORDS + 10
    assert sum(costs["extract"].values()) <= 10 + 3, (
        "3 receipts are read when the store is finished"
    )
    assert sum(costs["again"].values()) <= 3
    assert sum(costs["score"].values()) <= 10
