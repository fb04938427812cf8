"""`mmfeat-worker-pool`: its workers make shards, and say why they die at their start."""

import os
import re
import subprocess
import sys

import psutil
import pytest

from pipelines.engines.workers import pool

POOL = os.path.join(os.path.dirname(sys.executable), "mmfeat-worker-pool")
FLAGS = ("--runner=Portable", "--job_endpoint=embed", "--environment_type=EXTERNAL")


@pytest.fixture
def dying_workers(monkeypatch):
    """A pool whose workers cannot import a package; its address."""
    monkeypatch.setattr(pool, "WORKER", "import no_such_package")
    port, _, server = pool.start_pool("localhost")
    yield f"localhost:{port}"
    server.stop(0)


def test_a_worker_that_dies_at_its_start_says_why(mmfeat, dying_workers, toy_table, tmp_path):
    flags = (*FLAGS, f"--environment_config={dying_workers}")
    result = mmfeat("shard", toy_table, tmp_path / "out", *flags)
    assert result.returncode == 1
    assert "the worker has ended with exit code 1" in result.stderr
    assert "No module named 'no_such_package'" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_workers_of_a_pool_make_shards_and_end_with_it(mmfeat, toy_table, tmp_path):
    process = subprocess.Popen([POOL, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"listens on (localhost:\d+)", process.stdout.readline())[1]
        listening = psutil.Process(process.pid).net_connections(kind="inet")
        assert {each.laddr.ip for each in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        flags = (*FLAGS, f"--environment_config={address}")
        result = mmfeat("shard", toy_table, tmp_path / "out", *flags)
        assert result.returncode == 0, result.stderr
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert mmfeat("shard", toy_table, tmp_path / "local").returncode == 0
    for name in ("00000.tar", "00000.parquet"):
        made, expected = (tmp_path / folder / name for folder in ("out", "local"))
        assert made.read_bytes() == expected.read_bytes()
