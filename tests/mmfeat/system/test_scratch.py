import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mmfeat.system import scratch, scratch_folder


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch._remove_abandoned.cache_clear()


def make_old(path):
    os.utime(path, (0, 0))


def test_a_folder_is_removed_with_its_content(tmp_path):
    with scratch_folder() as folder:
        Path(folder, "file").touch()
        assert Path(folder).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_processes_are_removed_and_those_of_live_ones_stay(tmp_path):
    program = f"""
import sys, tempfile
tempfile.tempdir = {str(tmp_path)!r}
from mmfeat.system import scratch_folder
with scratch_folder() as folder:
    open(folder + "/file", "w").close()
    print(folder, flush=True)
    sys.stdin.read()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    dead, live = (Path(p.stdout.readline().decode().strip()) for p in processes)
    processes[0].kill()
    processes[0].communicate()
    new = tmp_path / "mmfeat-scratch-new"
    new.mkdir()
    for folder in (dead, live):
        make_old(folder)
    with scratch_folder() as folder:
        assert {*tmp_path.iterdir()} == {live, new, Path(folder)}
    processes[1].communicate()
