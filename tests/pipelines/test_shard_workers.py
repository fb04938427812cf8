import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mmfeat.store.stage import ShardTask
from pipelines.shard_workers import choose_processes
from tests.faults import wait_for
from tests.workers import kill, workers_of


class StageWithProcesses:
    def __init__(self, processes: int) -> None:
        self.max_processes, self.min_parallel_records = processes, 4000


def data_files(folder: Path) -> dict[str, bytes]:
    """Files of a store that do not depend on how it was made."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("0*")) if p.suffix != ".json"}


@pytest.fixture
def table(make_table):
    return make_table([{"file_name": f"{i:04}.png", "text": f"t{i}"} for i in range(200)])


@pytest.fixture
def web_table(make_table, picture_server):
    rows = [{"url": picture_server.url(f"{i:04}.png"), "text": f"t{i}"} for i in range(200)]
    return make_table(rows, pictures=False)


@pytest.fixture
def start_and_pause(mmfeat_process, picture_server):
    """Starts `mmfeat shard` and returns its process, which waits for pictures after some shards."""

    def start(table, output, *flags):
        picture_server.pause_after(100)
        run = mmfeat_process("shard", "--allow-private", table, output, *flags)
        assert wait_for(run, (output / "00001_stats.json").exists)
        return run

    return start


def test_the_store_does_not_depend_on_the_number_of_processes(mmfeat, table, tmp_path):
    for processes in (1, 3):
        result = mmfeat(
            "shard", table, tmp_path / str(processes), "--samples-per-shard", 20,
            "--processes", processes,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    assert data_files(tmp_path / "1") == data_files(tmp_path / "3")
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


def test_a_killed_run_leaves_no_process_and_resumes(
    mmfeat, start_and_pause, web_table, picture_server, tmp_path
):
    arguments = (web_table, tmp_path / "out", "--samples-per-shard", 5, "--processes", 2)
    run = start_and_pause(*arguments)
    workers = workers_of(run.pid)
    assert len(workers) == 2
    run.kill()  # its exit code is not read yet
    assert not psutil.wait_procs(workers, timeout=30)[1]
    picture_server.released.set()
    assert mmfeat("shard", "--allow-private", *arguments).returncode == 0
    mmfeat("shard", "--allow-private", web_table, tmp_path / "whole", "--samples-per-shard", 5)
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")


def test_shards_of_killed_workers_are_made_again(
    mmfeat, start_and_pause, web_table, picture_server, tmp_path
):
    arguments = (web_table, tmp_path / "out", "--samples-per-shard", 2, "--processes", 2)
    run = start_and_pause(*arguments)
    for worker in workers_of(run.pid):
        assert kill(worker)
    picture_server.released.set()
    output = run.stdout.read().decode()
    run.wait()
    assert run.returncode == 0, output
    assert output.count("was killed (out of memory?). It is made again") == 2
    assert "Traceback" not in output
    mmfeat("shard", "--allow-private", web_table, tmp_path / "whole", "--samples-per-shard", 2)
    assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")


def test_a_worker_logs_the_traceback_of_a_failed_shard_at_debug(table, tmp_path):
    arguments = (table, tmp_path / "out", "--samples-per-shard", 100, "--processes", 2)
    result = subprocess.run(
        [sys.executable, "-m", "mmfeat", "shard", *map(str, arguments)],
        env={**os.environ, "MMFEAT_LOG": "debug"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert result.returncode == 1
    assert "shard: shard 00000 failed\nTraceback" in result.stderr


@pytest.mark.parametrize(
    ("requested", "records", "local", "expected"),
    [
        (0, 4000, True, min(2, os.cpu_count() or 1)),
        (0, 3998, True, 1),
        (0, 4000, False, 1),
        (1, 4000, True, 1),
        (2, 2, True, 2),
        (8, 2, True, 2),
    ],
)
def test_processes_start_if_they_pay_or_are_requested(requested, records, local, expected):
    todo = [ShardTask(name, records // 2) for name in ("00000", "00001")]
    assert choose_processes(StageWithProcesses(requested), todo, local=local) == expected
