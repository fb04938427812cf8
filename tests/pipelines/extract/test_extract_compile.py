"""Columns with a compiled forward pass, made by the command. A toy compiler plays the real one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmfeat.encoders.neural import compilation
from tests.faults import assert_one_error, kill, wait_for
from tests.programs import REPOSITORY


def refuse(graph, inputs):
    raise RuntimeError("no compiler here")


@pytest.fixture
def encoder(tmp_path):
    pytest.importorskip("transformers")
    from tests.mmfeat.encoders.hf.checkpoints import save_clip

    torch.manual_seed(7)
    save_clip(tmp_path / "clip")
    return f"image=hf:{tmp_path / 'clip'}"


@pytest.fixture
def extract(mmfeat, small_shards, encoder, tmp_path, monkeypatch):
    """Makes a column in a folder."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")

    def run(folder, *flags):
        return mmfeat("extract", *arguments(small_shards, tmp_path / folder, encoder), *flags)

    return run


def arguments(shards, output, encoder):
    flags = ("--precision", "float32", "--batch-size", 8, "--device", "cpu", "--threads", 2)
    return (shards, output, "--encoder", encoder, *flags)


def column(folder):
    return json.loads((folder / "columns" / "image" / "column.json").read_text())


def rows(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).rglob("*.arrow"))}


def test_column_json_says_that_it_is_compiled(extract, tmp_path):
    assert extract("eager").returncode == 0
    assert extract("compiled", "--compile", "on").returncode == 0
    eager, compiled = column(tmp_path / "eager"), column(tmp_path / "compiled")
    assert (eager["settled"]["compile"], compiled["settled"]["compile"]) == (False, True)
    assert compiled["encoder"] == eager["encoder"] | {"compiled": True}
    assert compiled["fingerprint"] != eager["fingerprint"]
    assert compiled["settled"]["measured"]["compile"]["compiled"]["loss_max"] < 0.01


def test_shards_that_are_made_later_have_the_same_bytes(extract, tmp_path):
    assert extract("features", "--compile", "on").returncode == 0
    whole = rows(tmp_path / "features")
    for path in (tmp_path / "features").glob("columns/image/0000[24]_stats.json"):
        path.unlink()
    (tmp_path / "features" / "image" / "00004.arrow").unlink()
    result = extract("features")
    assert "4 of 6 shards are done" in result.stdout
    assert rows(tmp_path / "features") == whole
    assert len(whole) == 6


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_a_killed_run_ends_with_the_same_bytes(mmfeat, small_shards, encoder, tmp_path):
    """With the real compiler: the shard that was killed is made in a process of its own."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = mmfeat("extract", *arguments(small_shards, whole, encoder), "--compile", "on")
    assert result.returncode == 0
    command = [sys.executable, "-m", "mmfeat", "extract"]
    command += [*map(str, arguments(small_shards, killed, encoder)), "--compile", "on"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        wait_for(process, (killed / "columns" / "image" / "00001_stats.json").exists, 600)
        kill(process)
    assert mmfeat("extract", *arguments(small_shards, killed, encoder)).returncode == 0
    assert column(killed)["settled"]["compile"] is True
    assert rows(killed) == rows(whole)


def test_a_failing_compiler_is_a_note_and_the_next_run_continues(extract, monkeypatch, tmp_path):
    monkeypatch.setattr(compilation, "BACKEND", refuse)
    result = extract("features", "--compile", "on")
    assert result.returncode == 0
    assert "the forward pass is not compiled: torch.compile fails" in result.stderr
    assert (
        "no compiler here"
        in column(tmp_path / "features")["settled"]["measured"]["compile"]["reason"]
    )
    again = extract("features", "--compile", "on")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_a_store_continued_where_compiling_fails_says_so(extract, monkeypatch, tmp_path):
    assert extract("features", "--compile", "on").returncode == 0
    (tmp_path / "features" / "columns" / "image" / "00003_stats.json").unlink()
    monkeypatch.setattr(compilation, "BACKEND", refuse)
    line = assert_one_error(extract("features"))
    assert "was started with a compiled forward pass, and this machine cannot compile it" in line
    assert "no compiler here" in line
    assert "start another column" in line
