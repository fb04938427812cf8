"""Requests to S3: how many each shard costs, apart from what each run costs."""

import pytest
import s3fs

from tests.object_stores.conftest import ENCODERS, RECIPE, write_dataset

RECORDS = 10
"""Records of a shard, each with one picture."""

SHARDS = (2, 6)
"""A shard costs the difference of two runs, divided by that of their shards."""


@pytest.fixture
def requests_of(mmfeat, server):
    """Runs a command and returns the methods of its requests."""

    def count(command, *arguments):
        s3fs.S3FileSystem.clear_instance_cache()
        server.requests.clear()
        result = mmfeat(command, *arguments)
        assert result.returncode == 0, result.stderr
        return server.count()

    return count


def remove_rows(fs, store):
    """Remove everything from a feature store but the settings of its run and of its columns."""
    names = fs.find(store)
    fs.rm([name for name in names if not name.endswith(("/config.json", "/column.json"))])


def per_shard(counts):
    few, many = counts
    methods = {*few, *many}
    return {m: (many[m] - few[m]) / (SHARDS[1] - SHARDS[0]) for m in methods}


def test_requests_per_shard(requests_of, capfd):
    counts = {name: [] for name in ("shard", "extract", "again", "score")}
    for number in SHARDS:
        root = f"s3://bucket/{number}"
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        write_dataset(f"bucket/{number}/raw", number * RECORDS, fs.pipe_file)
        shards, features, model = f"{root}/shards", f"{root}/features", "s3://bucket/model"
        flags = ("--samples-per-shard", RECORDS, "--processes", 1)
        counts["shard"].append(requests_of("shard", f"{root}/raw/table.csv", shards, *flags))
        extract = ("extract", shards, features, *ENCODERS, "--processes", 1)
        requests_of(*extract)  # it chooses settings, for which it reads the first shards twice
        remove_rows(fs, f"bucket/{number}/features")
        counts["extract"].append(requests_of(*extract))
        counts["again"].append(requests_of(*extract))
        if number == SHARDS[0]:
            requests_of("train", features, model, *RECIPE)
        counts["score"].append(requests_of("score", model, features, f"{root}/predictions"))
    costs = {name: per_shard(found) for name, found in counts.items()}
    with capfd.disabled():
        for name, found in costs.items():
            print(f"\n{name}: {sum(found.values()):.1f} requests per shard, {found}", end="")
    assert all(found.get("HEAD", 0) == 0 for found in costs.values())
    assert sum(costs["shard"].values()) <= RECORDS + 10
    assert sum(costs["extract"].values()) <= 10 + 3, (
        "3 receipts are read when the store is finished"
    )
    assert sum(costs["again"].values()) <= 3
    assert sum(costs["score"].values()) <= 10
