"""A record that kills its process costs its own row, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.shared import Shared

from mmfeat.features import FeatureStore
from mmfeat.sharding import ShardConfig, Sharding
from mmfeat.store import leave_mark, read_receipt
from pipelines.transforms import _ProcessShard
from tests.conftest import REPOSITORY, picture_bytes
from tests.figures import COUNTS

pytestmark = pytest.mark.slow

POISON = REPOSITORY / "tests" / "poison"
DEADLY = ("p003", "p017", "p041")
RECORDS = 60


def write_table(folder):
    """Write a table of sixty records with three deadly pictures, and return its path."""
    folder.mkdir()
    lines = []
    for n in range(RECORDS):
        name = f"p{n:03}"
        poison = b"POISON" if name in DEADLY else b""
        (folder / f"{name}.png").write_bytes(picture_bytes((n, 9, 200 - n)) + poison)
        lines.append(f"{name}.png,text {n},{'ab'[n % 2]}\n")
    (folder / "table.csv").write_text("file_name,text,label\n" + "".join(lines))
    return folder / "table.csv"


def run_in(folder, *arguments, **environment):
    """Run a command in a process of its own, in which the poison works."""
    (folder / "deaths").mkdir(exist_ok=True)
    paths = os.pathsep.join(map(str, (POISON, REPOSITORY)))
    deaths = str(folder / "deaths")
    return subprocess.run(
        [sys.executable, "-m", "mmfeat", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "POISON_DEATHS": deaths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


SHARD = ("--samples-per-shard", 12, "--validate", "decode")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A folder with the table, the store `out` that worker processes made, and their output."""
    folder = tmp_path_factory.mktemp("sharded")
    table = write_table(folder / "raw")
    result = run_in(folder, "shard", table, folder / "out", *SHARD, "--processes", 2)
    assert result.returncode == 0, result.stderr
    (folder / "stderr.txt").write_text(result.stderr)
    return folder


@pytest.fixture
def poisoned(sharded):
    return sharded / "raw" / "table.csv"


@pytest.fixture
def run(tmp_path):
    return partial(run_in, tmp_path)


def count_deaths(folder):
    return len(list((folder / "deaths").iterdir()))


def rows_of(folder):
    """Rows of all tables below a folder, by key."""
    tables = sorted(Path(folder).glob("0*.parquet"))
    return {row["__key__"]: row for table in tables for row in pq.read_table(table).to_pylist()}


def totals_of(folder):
    totals = json.loads((Path(folder) / "manifest.json").read_text())["totals"]
    assert totals["records"] == totals["out"] + sum(totals["rejected"].values()) == RECORDS
    return totals


def assert_rejected(rows, expected):
    """Assert that the rows are the expected ones, but for the deadly records."""
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        if key in DEADLY:
            COUNTS["deadly records"] += 1
            assert (row["status"], row["reason"]) == ("failed", "worker_died")
            assert "killed" in row["error"]
        else:
            assert row == expected[key]


def test_deadly_pictures_cost_only_their_rows(mmfeat, sharded, poisoned, tmp_path, read_samples):
    output = (sharded / "stderr.txt").read_text()
    assert "Traceback" not in output
    assert "are rejected as worker_died" in output
    assert totals_of(sharded / "out")["rejected"] == {"worker_died": len(DEADLY)}
    assert mmfeat("shard", poisoned, tmp_path / "whole", *SHARD).returncode == 0
    assert_rejected(rows_of(sharded / "out"), rows_of(tmp_path / "whole"))
    samples, whole = read_samples(sharded / "out"), read_samples(tmp_path / "whole")
    assert samples == {key: whole[key] for key in whole if key not in DEADLY}


def test_a_run_that_a_record_killed_finishes_when_it_is_run_again(
    run, sharded, poisoned, tmp_path, snapshot
):
    first = run("shard", poisoned, tmp_path / "out", *SHARD)
    assert first.returncode == -9
    assert list((tmp_path / "out").glob(".unfinished-*"))
    second = run("shard", poisoned, tmp_path / "out", *SHARD)
    assert second.returncode == 0, second.stderr
    assert "made in processes of their own" in second.stderr
    assert snapshot(tmp_path / "out") == snapshot(sharded / "out")


def test_deadly_records_are_tried_again_on_request(run, sharded, tmp_path):
    shutil.copytree(sharded / "raw", tmp_path / "raw")
    shutil.copytree(sharded / "out", tmp_path / "out")
    arguments = ("shard", tmp_path / "raw" / "table.csv", tmp_path / "out", *SHARD)
    still_deadly = run(*arguments, "--retry-failed")  # in processes of their own
    assert still_deadly.returncode == 0, still_deadly.stderr
    assert totals_of(tmp_path / "out")["rejected"] == {"worker_died": len(DEADLY)}
    for name in DEADLY:
        (tmp_path / "raw" / f"{name}.png").write_bytes(picture_bytes())
    healed = run(*arguments, "--retry-failed")
    assert healed.returncode == 0, healed.stderr
    assert totals_of(tmp_path / "out")["rejected"] == {}


def test_deaths_that_pass_reject_no_record(mmfeat, run, poisoned, tmp_path, snapshot):
    result = run(
        "shard", poisoned, tmp_path / "out", *SHARD, "--processes", 2, POISON_LIMIT="3"
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert count_deaths(tmp_path) == 3
    mmfeat("shard", poisoned, tmp_path / "whole", *SHARD)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_shard_that_no_single_record_kills_fails_and_others_are_made(run, poisoned, tmp_path):
    arguments = ("shard", poisoned, tmp_path / "out", "--samples-per-shard", 20, *SHARD[2:])
    flags = ("--shuffle", "none", "--processes", 2)
    for _ in range(2):  # the second run must not work on the shard in its own process
        result = run(*arguments, *flags, POISON_TOGETHER="2")
        assert result.returncode == 1
        assert "1 of 3 shards" in result.stderr
        assert "no record of the shard kills it alone" in result.stderr
        assert "Traceback" not in result.stderr


def test_workers_that_cannot_start_end_the_run(run, poisoned, tmp_path):
    arguments = ("shard", poisoned, tmp_path / "out", *SHARD, "--processes", 2)
    result = run(*arguments, POISON_LOAD="yes")
    assert result.returncode == 1
    assert "5 of 5 shards" in result.stderr
    assert "a worker process was killed" in result.stderr
    assert "Traceback" not in result.stderr
    assert count_deaths(tmp_path) <= 12


def test_a_worker_of_a_cluster_isolates_a_shard_whose_worker_died(
    make_table, tmp_path, monkeypatch
):
    table = make_table([{"file_name": f"{n}.png", "text": f"text {n}"} for n in range(20)])
    config = ShardConfig(str(table), str(tmp_path / "out"), samples_per_shard=10, processes=1)
    stage, made_here = Sharding(config), []

    def process_shard(stage, task, loaded):
        made_here.append(task.shard)
        return True

    monkeypatch.setattr("pipelines.transforms.process_shard", process_shard)
    tasks = stage.plan()
    leave_mark(stage.output, "00001")
    worker = _ProcessShard(stage, Shared())
    worker.setup()
    assert [shard for task in tasks for shard in worker.process(task)] == ["00000", "00001"]
    assert made_here == ["00000"]
    assert read_receipt(stage.output, "00001")


@pytest.fixture
def shards(mmfeat, poisoned, tmp_path):
    flags = ("--samples-per-shard", 12, "--validate", "none")
    assert mmfeat("shard", poisoned, tmp_path / "shards", *flags).returncode == 0
    return tmp_path / "shards"


def features_of(folder):
    store = FeatureStore(str(folder))
    keys = [
        key for shard in store.shards for key in store.read_samples(shard)["__key__"].to_pylist()
    ]
    paths = [folder / "image" / f"{shard}.arrow" for shard in store.shards]
    rows = [row for path in paths for row in pa.ipc.open_file(path).read_all().to_pylist()]
    return {key: {"__key__": key, **row} for key, row in zip(keys, rows, strict=True)}


ENCODER = ("--encoder", "image=builtin:image", "--encoder", "text=builtin:text")


def test_deadly_members_cost_only_their_features(mmfeat, run, shards, tmp_path):
    arguments = ("extract", shards, tmp_path / "out", *ENCODER)
    assert run(*arguments).returncode == -9
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    totals = totals_of(tmp_path / "out")
    assert totals["columns"]["image"]["rejected"] == {"worker_died": len(DEADLY)}
    assert mmfeat("extract", shards, tmp_path / "whole", *ENCODER).returncode == 0
    assert_rejected(features_of(tmp_path / "out"), features_of(tmp_path / "whole"))


def test_a_deadly_row_costs_only_its_prediction(mmfeat, run, shards, tmp_path):
    features, model = tmp_path / "features", tmp_path / "model"
    assert mmfeat("extract", shards, features, *ENCODER).returncode == 0
    train = ("--target", "label", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
    assert mmfeat("train", features, model, *train).returncode == 0
    store = FeatureStore(str(features))
    shard = list(store.shards)[1]
    key = store.read_samples(shard)["__key__"].to_pylist()[5]
    np.save(tmp_path / "deadly.npy", store.read_column("text", shard).features[5])
    arguments = ("score", model, features, tmp_path / "out")
    poison = {"POISON_FEATURE": str(tmp_path / "deadly.npy")}
    assert run(*arguments, **poison).returncode == -9
    result = run(*arguments, **poison)
    assert result.returncode == 0, result.stderr
    assert totals_of(tmp_path / "out")["rejected"] == {"worker_died": 1}
    assert mmfeat("score", model, features, tmp_path / "whole").returncode == 0
    rows, whole = rows_of(tmp_path / "out" / "data"), rows_of(tmp_path / "whole" / "data")
    assert rows.pop(key)["reason"] == "worker_died"
    assert whole.pop(key)["status"] == "ok"
    assert rows == whole
