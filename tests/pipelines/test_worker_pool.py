"""Shards made side by side by several processes."""

import os
from pathlib import Path

import psutil
import pytest

from mmfeat.store.stage import ShardTask
from pipelines.worker_pool import WORTH_IT, processes_for
from tests.faults import wait_for


class Wanted:
    def __init__(self, processes: int) -> None:
        self.processes = processes


def data_of(folder: Path) -> dict[str, bytes]:
    """The bytes of a store that must not depend on how it was made."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("0*")) if p.suffix != ".json"}


def workers_of(run: int) -> list[psutil.Process]:
    """The processes that make the shards of a run."""
    below = psutil.Process(run).children(recursive=True)
    return [process for process in below if process.ppid() != run]


@pytest.fixture
def table(make_table):
    return make_table([{"file_name": f"{i:04}.png", "text": f"t{i}"} for i in range(200)])


@pytest.fixture
def web_table(make_table, web_pictures):
    rows = [{"url": web_pictures.url(f"{i:04}.png"), "text": f"t{i}"} for i in range(200)]
    return make_table(rows, pictures=False)


def test_the_store_does_not_depend_on_the_number_of_processes(mmfeat, table, tmp_path):
    for processes in (1, 3):
        result = mmfeat(
            "shard", table, tmp_path / str(processes), "--samples-per-shard", 20,
            "--processes", processes,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    assert data_of(tmp_path / "1") == data_of(tmp_path / "3")
    assert "largest worker" in result.stdout


def test_too_many_rejected_records_stop_all_processes(mmfeat, make_table, tmp_path):
    rows = [{"file_name": f"{i:04}.png", "text": ""} for i in range(600)]
    table = make_table(rows, pictures=False)
    (table.parent / "0000.png").write_bytes(b"no picture")
    result = mmfeat(
        "shard", table, tmp_path / "out", "--samples-per-shard", 120, "--processes", 2,
        "--max-reject-rate", 0.5,
    )  # fmt: skip
    assert result.returncode == 1
    assert "--max-reject-rate is 0.5" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_killed_run_leaves_no_process_behind_and_goes_on(
    mmfeat, mmfeat_process, web_table, web_pictures, tmp_path
):
    arguments = (web_table, tmp_path / "out", "--samples-per-shard", 5, "--processes", 2)
    web_pictures.hold_after(100)
    run = mmfeat_process("shard", *arguments)
    assert wait_for(run, (tmp_path / "out" / "00001_stats.json").exists)
    workers = workers_of(run.pid)
    assert len(workers) == 2
    run.kill()  # and nobody asks for its exit code yet
    assert not psutil.wait_procs(workers, timeout=30)[1]
    web_pictures.free.set()
    assert mmfeat("shard", *arguments).returncode == 0
    mmfeat("shard", web_table, tmp_path / "whole", "--samples-per-shard", 5)
    assert data_of(tmp_path / "out") == data_of(tmp_path / "whole")


def test_a_killed_worker_is_told_and_the_next_run_makes_its_shard(
    mmfeat, mmfeat_process, web_table, web_pictures, tmp_path
):
    arguments = (web_table, tmp_path / "out", "--samples-per-shard", 2, "--processes", 2)
    web_pictures.hold_after(100)
    run = mmfeat_process("shard", *arguments)
    assert wait_for(run, (tmp_path / "out" / "00001_stats.json").exists)
    for worker in workers_of(run.pid):
        worker.kill()
    output = run.stdout.read().decode()
    run.wait()
    assert run.returncode == 1, output
    assert "was killed (out of memory?)" in output
    assert "Traceback" not in output
    web_pictures.free.set()
    assert mmfeat("shard", *arguments).returncode == 0
    mmfeat("shard", web_table, tmp_path / "whole", "--samples-per-shard", 2)
    assert data_of(tmp_path / "out") == data_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("wanted", "records", "local", "expected"),
    [
        (0, WORTH_IT, True, min(2, os.cpu_count() or 1)),
        (0, WORTH_IT - 2, True, 1),
        (0, WORTH_IT, False, 1),
        (1, WORTH_IT, True, 1),
        (2, 2, True, 2),
        (8, 2, True, 2),
    ],
)
def test_processes_are_started_where_they_pay_or_are_asked_for(wanted, records, local, expected):
    todo = [ShardTask(name, records // 2) for name in ("00000", "00001")]
    assert processes_for(Wanted(wanted), todo, local=local) == expected
