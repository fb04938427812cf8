import subprocess
import sys

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.storage.lock import lock_directory
from mmfeat.storage.temporaries import remove_temporaries


@pytest.fixture
def lock_in_other_process():
    """Locks a directory in another process until the test ends."""
    processes = []

    def lock(folder):
        program = f"""
import sys
from mmfeat.storage.lock import lock_directory
with lock_directory({str(folder)!r}):
    print("locked", flush=True)
    sys.stdin.read()
"""
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout.readline() == b"locked\n"

    yield lock
    for process in processes:
        process.communicate()


def test_a_locked_directory_refuses_another_process(folder):
    program = f"""
from mmfeat.storage.lock import lock_directory
with lock_directory({folder!r}):
    pass
"""
    command = [sys.executable, "-c", program]
    with lock_directory(folder):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "only one run at a time" in refused.stderr
    subprocess.run(command, check=True)


def test_the_lock_removes_a_directory_that_stays_empty(tmp_path):
    with lock_directory(str(tmp_path / "new")):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with lock_directory(str(tmp_path)):
        pass
    assert tmp_path.is_dir()


@pytest.mark.parametrize("name", ["", "below"])
def test_an_output_that_is_a_file_is_refused(tmp_path, name):
    file = tmp_path / "table.csv"
    file.write_text("a,b\n")
    with (
        pytest.raises(MmfeatError, match=rf"must be a directory, and {file} is a file"),
        lock_directory(str(file / name)),
    ):
        pass


def test_the_lock_removes_all_folders_that_it_made(tmp_path):
    with lock_directory(str(tmp_path / "a/b/c")):
        assert (tmp_path / "a/b/c").is_dir()
    assert list(tmp_path.iterdir()) == []
    with lock_directory(str(tmp_path / "a/b/c")):
        (tmp_path / "a/file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_the_lock_removes_the_temporaries_of_killed_runs(tmp_path):
    (tmp_path / "column").mkdir()
    (tmp_path / "column" / ".00000.arrow.tmp-0123").write_bytes(b"half")
    (tmp_path / "column" / ".keep").write_bytes(b"mine")
    with lock_directory(str(tmp_path)):
        assert [path.name for path in (tmp_path / "column").iterdir()] == [".keep"]


def test_the_temporaries_of_a_live_run_in_a_folder_below_stay(tmp_path, lock_in_other_process):
    (tmp_path / "dead").mkdir()
    lock_in_other_process(tmp_path / "live")
    (tmp_path / "live" / "deeper").mkdir()
    for name in ("live/.a.tmp-1", "live/deeper/.a.tmp-2", "dead/.a.tmp-3"):
        (tmp_path / name).touch()
    remove_temporaries(str(tmp_path))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".a.tmp-*")}
    assert left == {"live/.a.tmp-1", "live/deeper/.a.tmp-2"}
