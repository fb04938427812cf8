"""Progress of a run whose workers are other processes."""

import os
import sys
from pathlib import Path

import pytest

from mmfeat.system import progress
from pipelines import monitoring
from tests.pipelines.conftest import run_worker_pool


@pytest.fixture
def shown(monkeypatch):
    """The numbers that the progress bar has shown."""
    numbers = []
    monkeypatch.setattr(progress.ProgressBar, "update", lambda bar, done: numbers.append(done))
    monkeypatch.setattr(monitoring, "_LISTING_SECONDS", 0.05)
    monkeypatch.setattr(monitoring, "_REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(monitoring, "_LISTING_SHARE", 1.0)
    return numbers


@pytest.fixture
def worker_pool():
    """A pool of workers in processes of their own; its address."""
    with run_worker_pool(Path(sys.executable).parent, PYTHONPATH=os.getcwd()) as address:
        yield address


@pytest.mark.slow
def test_records_of_other_processes_count_when_their_shard_has_a_receipt(
    mmfeat, toy_table, tmp_path, shown, worker_pool
):
    flags = ("--runner=Portable", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    flags = (*flags, f"--environment_config={worker_pool}")
    shards, features = tmp_path / "shards", tmp_path / "features"
    result = mmfeat("shard", toy_table, shards, "--samples-per-shard", 2, *flags)
    assert result.returncode == 0, result.stderr
    assert shown == sorted(shown)
    assert 0 < max(shown) <= 60
    shown.clear()
    result = mmfeat("extract", shards, features, *flags)
    assert result.returncode == 0, result.stderr
    assert 0 < max(shown) <= 60


def test_receipts_that_are_not_valid_any_more_do_not_count(tmp_path, shown):
    (tmp_path / "00000_stats.json").touch()
    (tmp_path / "00009_stats.json").touch()  # of a shard that is done
    tasks = [monitoring.ShardTask(f"{n:05}", 10) for n in range(3)]
    count = monitoring._ReceiptCounter(str(tmp_path), tasks)
    monitoring.time.sleep(0.06)
    assert count() == 0
    (tmp_path / "00001_stats.json").touch()
    monitoring.time.sleep(0.06)
    assert count() == 10


def test_a_slow_listing_is_made_less_often(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(monitoring.time, "monotonic", lambda: clock[0])
    listings = []

    def list_names(folder):
        listings.append(clock[0])
        clock[0] += 2.0
        return []

    monkeypatch.setattr(monitoring.files, "list_names", list_names)
    count = monitoring._ReceiptCounter("store", [])
    while clock[0] < 200:
        clock[0] += 0.2
        count()
    assert len(listings) <= 1 + 200 / (2 / 0.05)
