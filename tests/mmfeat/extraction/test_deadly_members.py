"""A member that kills the process cannot keep an encoder from being tuned."""

import os
import subprocess
import sys

import pytest

from mmfeat.extraction.tuning import TunedSettings
from mmfeat.store import leave_mark
from tests.conftest import REPOSITORY

PROGRAM = """
from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.extraction.tuning.deadly_members import drop_deadly_members
from tests.conftest import picture_bytes

if __name__ == "__main__":
    spec = EncoderSpec.parse("image=builtin:image")
    picture = picture_bytes()
    members = [picture, picture + b"POISON", b"no picture", picture_bytes((1, 1, 1))]
    kept = drop_deadly_members(spec, Settings(), members)
    print(*[members.index(member) for member in kept])
"""


def test_members_that_kill_the_process_are_left_out(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    (tmp_path / "deaths").mkdir()
    paths = os.pathsep.join(map(str, (REPOSITORY / "tests" / "poison", REPOSITORY)))
    result = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "PYTHONPATH": paths, "POISON_DEATHS": str(tmp_path / "deaths")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["0", "2", "3"]
    assert len(list((tmp_path / "deaths").iterdir())) == 2


@pytest.mark.parametrize("died", [False, True])
def test_members_are_tried_only_after_a_run_that_died_while_tuning(
    mmfeat, toy_table, tmp_path, monkeypatch, died
):
    tried, tuned = [], []

    def drop(spec, settings, members):
        tried.append(len(members))
        return members[:3]

    def tune(spec, settings, members, batch_size, records, cache):
        tuned.append(len(members))
        return spec.load(settings), TunedSettings("float32", 8, {})

    monkeypatch.setattr("mmfeat.extraction.column_start.drop_deadly_members", drop)
    monkeypatch.setattr("mmfeat.extraction.column_start.autotune", tune)
    mmfeat("shard", toy_table, tmp_path / "shards")
    output = tmp_path / "features"
    output.mkdir()
    if died:
        leave_mark(str(output), "image")
    result = mmfeat("extract", tmp_path / "shards", output, "--encoder", "image=builtin:image")
    assert result.returncode == 0, result.stderr
    assert (tried, tuned) == (([32], [3]) if died else ([], [32]))
    assert not list(output.glob(".unfinished-*"))
