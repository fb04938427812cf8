import random
import time

import pytest

from mmfeat.store.receipts import read_receipt
from tests.faults import assert_one_error_line, flaky_files, kill, wait_for, write_noise_table
from tests.programs import run_with_file_limit

FLAGS = ("--samples-per-shard", 20)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A table of six hundred records."""
    return write_noise_table(tmp_path_factory.mktemp("raw"), 600, 24)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "times"), [(1, 20), (2, 10)])
def test_a_run_killed_many_times_gives_the_same_store(
    mmfeat, mmfeat_process, pictures, tmp_path, snapshot, processes, times
):
    assert mmfeat("shard", pictures, tmp_path / "whole", *FLAGS).returncode == 0
    whole = snapshot(tmp_path / "whole")
    rng = random.Random(20 + processes)
    out, kills, rounds = tmp_path / "0", 0, 0
    arguments = (*FLAGS, "--processes", processes)
    while kills < times:
        process = mmfeat_process("shard", pictures, out, *arguments)
        receipts = len(list(out.glob("*_stats.json"))) + rng.randint(0, 2)
        moment = rng.choice(["time", "plan", "receipts", "receipts", "temporary"])
        if moment == "time":
            time.sleep(rng.uniform(0.3, 2.5))
        elif moment == "plan":
            wait_for(process, (out / "_plan").exists)
            time.sleep(rng.uniform(0, 0.05))
        elif moment == "receipts":
            wait_for(process, lambda o=out, n=receipts: len(list(o.glob("*_stats.json"))) > n)
        else:
            wait_for(process, lambda o=out: any(o.glob(".*.tmp-*")))
        kills += kill(process)
        if (out / "manifest.json").exists():
            assert mmfeat("shard", pictures, out, *arguments).returncode == 0
            assert snapshot(out) == whole
            rounds += 1
            out = tmp_path / str(rounds)
    result = mmfeat("shard", pictures, out, *arguments)
    assert result.returncode == 0, result.stderr
    assert snapshot(out) == whole


def test_a_full_disk_is_one_error_line_and_the_run_resumes(
    mmfeat, pictures, tmp_path, snapshot, small_disk
):
    disk, mount = small_disk
    assert mmfeat("shard", pictures, tmp_path / "whole", *FLAGS).returncode == 0
    out = disk / "out"
    for size in ("200k", "500k", "1m"):
        assert mount(f"remount,size={size}")
        result = mmfeat("shard", pictures, out, *FLAGS)
        assert result.returncode == 1
        assert_one_error_line(result.stderr)
        assert "No space left" in result.stderr, result.stderr
        assert not list(out.rglob(".*"))
        for receipt in out.glob("*_stats.json"):
            assert read_receipt(str(out), receipt.name.removesuffix("_stats.json"))
    assert mount("remount,size=50m")
    result = mmfeat("shard", pictures, out, *FLAGS)
    assert result.returncode == 0, result.stderr
    assert snapshot(out) == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_file_size_limit_is_one_error_line_and_the_run_resumes(
    mmfeat, pictures, tmp_path, snapshot, limit
):
    out = tmp_path / "out"
    flags = ("--samples-per-shard", 40)
    result = run_with_file_limit(limit, "shard", pictures, out, *flags)
    assert result.returncode == 1, result.stderr
    assert "File too large" in assert_one_error_line(result.stderr)
    assert not list(out.rglob(".*"))
    assert not list(out.glob("*.tar"))
    assert mmfeat("shard", pictures, out, *flags).returncode == 0
    assert mmfeat("shard", pictures, tmp_path / "whole", *flags).returncode == 0
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_a_read_only_disk_is_one_error_line(mmfeat, toy_table, small_disk):
    disk, mount = small_disk
    assert mount("remount,size=50m")
    assert mmfeat("shard", toy_table, disk / "done").returncode == 0
    assert mount("remount,ro")
    result = mmfeat("shard", toy_table, disk / "out")
    assert result.returncode == 1
    assert "Read-only" in assert_one_error_line(result.stderr)
    result = mmfeat("shard", toy_table, disk / "done")
    assert (result.returncode, "nothing to do" in result.stdout) == (0, True)


@pytest.mark.parametrize("error_rate", [0.03, 0.05])
def test_random_storage_errors_do_not_change_the_store(
    mmfeat, toy_table, picture, flaky, error_rate
):
    fs = flaky()
    for path in toy_table.parent.iterdir():
        fs.pipe_file(f"/in/{path.name}", path.read_bytes())
    fs.rm_file("/in/p007.png")
    fs.pipe_file("/in/p008.png", b"no picture")
    arguments = ("shard", "flaky://in/table.csv")
    flags = ("--samples-per-shard", 13, "--threads", 1)
    assert mmfeat(*arguments, "flaky://whole", *flags).returncode == 0
    flaky.error_rate = error_rate
    for _ in range(200):
        result = mmfeat(*arguments, "flaky://out", *flags)
        if result.returncode == 0:
            break
        assert_one_error_line(result.stderr)
    flaky.error_rate = 0.0
    assert result.returncode == 0, result.stderr
    assert flaky.errors
    assert flaky_files("/out") == flaky_files("/whole")


def test_random_errors_of_an_input_folder_do_not_change_the_store(mmfeat, picture, flaky):
    fs = flaky()
    for n in range(30):
        fs.pipe_file(f"/in/cats/{n}.png", picture((n, n, n)))
        fs.pipe_file(f"/in/cats/{n}.txt", f"text {n}".encode())
        fs.pipe_file(f"/in/cats/{n}.json", b'{"n": %d}' % n)
    arguments = ("shard", "flaky://in")
    assert mmfeat(*arguments, "flaky://whole", "--threads", 1).returncode == 0
    flaky.error_rate = 0.01
    for _ in range(200):
        result = mmfeat(*arguments, "flaky://out", "--threads", 1)
        if result.returncode == 0:
            break
        assert_one_error_line(result.stderr)
    flaky.error_rate = 0.0
    assert result.returncode == 0, result.stderr
    assert flaky_files("/out") == flaky_files("/whole")


def test_a_read_only_store_is_one_error_line(mmfeat, toy_table, flaky):
    flaky.read_only = True
    result = mmfeat("shard", toy_table, "flaky://out")
    assert result.returncode == 1
    assert "Permission denied" in assert_one_error_line(result.stderr)
    assert not flaky_files("/out")


@pytest.fixture
def web_table(make_table, picture_server):
    rows = [{"url": picture_server.url(f"{n:03}.png"), "text": f"t{n}"} for n in range(100)]
    return make_table(rows, pictures=False)


def test_a_second_run_on_a_directory_is_refused(
    mmfeat, mmfeat_process, web_table, picture_server, tmp_path, snapshot
):
    out = tmp_path / "out"
    picture_server.pause_after(50)
    first = mmfeat_process("shard", "--allow-private", web_table, out, *FLAGS)
    assert wait_for(first, lambda: any(out.glob("*_stats.json")))
    second = mmfeat("shard", "--allow-private", web_table, out, *FLAGS)
    assert second.returncode == 1
    assert "one run at a time" in assert_one_error_line(second.stderr)
    other = mmfeat("shard", "--allow-private", web_table, out, "--samples-per-shard", 7)
    assert "one run at a time" in assert_one_error_line(other.stderr)
    picture_server.released.set()
    assert first.wait(60) == 0
    assert mmfeat("shard", "--allow-private", web_table, tmp_path / "whole", *FLAGS).returncode == 0
    assert snapshot(out) == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_kill_releases_the_directory(
    mmfeat, mmfeat_process, web_table, picture_server, tmp_path, processes
):
    out = tmp_path / "out"
    picture_server.pause_after(80)
    first = mmfeat_process(
        "shard", "--allow-private", web_table, out, *FLAGS, "--processes", processes
    )
    assert wait_for(first, lambda: any(out.glob("*_stats.json")))
    assert kill(first)
    picture_server.released.set()
    result = mmfeat("shard", "--allow-private", web_table, out, *FLAGS)
    assert result.returncode == 0, result.stderr
    assert not list(out.glob(".*"))


def test_concurrent_runs_give_the_same_store(mmfeat, mmfeat_process, pictures, tmp_path, snapshot):
    out = tmp_path / "out"
    processes = [mmfeat_process("shard", pictures, out, *FLAGS) for _ in range(3)]
    codes = []
    for process in processes:
        output = process.communicate(timeout=60)[0].decode()
        codes.append(process.returncode)
        if process.returncode:
            assert "one run at a time" in assert_one_error_line(output)
    assert 0 in codes
    assert mmfeat("shard", pictures, out, *FLAGS).returncode == 0
    assert mmfeat("shard", pictures, tmp_path / "whole", *FLAGS).returncode == 0
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_too_many_rejected_records_stop_parallel_processes(mmfeat, pictures, tmp_path):
    flags = (*FLAGS, "--processes", 2, "--max-reject-rate", "0.001", "--require", "image,text")
    result = mmfeat("shard", pictures, tmp_path / "out", *flags)
    assert result.returncode == 1
    assert "--max-reject-rate is 0.001" in assert_one_error_line(result.stderr)
    assert not (tmp_path / "out" / "manifest.json").exists()
