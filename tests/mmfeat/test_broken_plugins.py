"""Plug-ins that fail: one line names the plug-in, what it broke, and what to do."""

import json
import os
import subprocess
import sys

import pytest

from mmfeat.plugins import TRUSTED, explain_plugin_error
from tests.conftest import REPOSITORY

MODULE = """
import os

import numpy as np

from mmfeat.encoders import Encoder
from mmfeat.models.fusion import FusionOutput, PooledFusion
from mmfeat.sources.registry import InputForm

BROKEN = os.environ.get("BROKEN")


def fail_if(place):
    if BROKEN == place:
        raise ValueError(f"broken {place}")


class LetterEncoder(Encoder):
    modality = "text"
    if BROKEN != "dim":
        dim = 2

    def identity(self):
        fail_if("identity")
        return {"name": object() if BROKEN == "json" else "letters"}

    def decode(self, data):
        fail_if("decode")
        return data.decode()

    def encode(self, batch):
        fail_if("encode")
        width = 3 if BROKEN == "shape" else 2
        rows = len(batch) - (BROKEN == "rows")
        return np.ones((rows, width), np.float32)


def load(name, modality, options, settings):
    return LetterEncoder()


class MaxFusion(PooledFusion):
    def __init__(self, modalities, hidden):
        fail_if("init")
        super().__init__(modalities, hidden)
        self.out_dim = hidden

    def forward(self, h, present):
        fail_if("forward")
        largest = h.max(dim=1).values
        return largest if BROKEN == "output" else FusionOutput(
            largest[:, :3] if BROKEN == "width" else largest
        )


def open_folder(folder, options):
    fail_if("folder")


FORM = InputForm(open_folder)
"""

ENTRY_POINTS = """
[mmfeat.encoders]
letters = broken_plugin:load

[mmfeat.fusions]
maximum = broken_plugin:MaxFusion

[mmfeat.sources]
folders = broken_plugin:FORM
"""


@pytest.fixture
def run(tmp_path, toy_table):
    """Runs a command where the package is installed; `broken` names the method that fails."""
    info = tmp_path / "site" / "broken_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "broken_plugin.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)

    def run_command(*arguments, broken=""):
        path = os.pathsep.join(map(str, (tmp_path / "site", REPOSITORY)))
        return subprocess.run(
            [sys.executable, "-m", "mmfeat", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "BROKEN": broken},
        )

    assert run_command("shard", toy_table, "shards").returncode == 0
    return run_command


def check(result, *parts):
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


EXTRACT = ("extract", "shards", "features", "--encoder", "text=letters:any")
TRAIN = ("train", "features", "model", "--target", "label", "--epochs", "2", "--lr", "0.01")


def test_broken_plugins_are_named(run, tmp_path):
    for broken, problem in [
        ("identity", "ValueError: broken identity"),
        ("json", "LetterEncoder.identity must return values that JSON has"),
        ("dim", "LetterEncoder.dim must be"),
        ("rows", "LetterEncoder.encode must return"),
        ("encode", "The first error: ValueError: broken encode"),
    ]:
        check(run(*EXTRACT, broken=broken), problem)
    again = run("shard", tmp_path / "raw", "again", broken="folder")
    check(again, "the plug-in broken-plugin failed in fail_if", "ValueError: broken folder")
    encoders = ("--encoder", "image=builtin:image", "--encoder", "text=letters:any")
    assert run("extract", "shards", "features", *encoders).returncode == 0
    trained = run(*TRAIN, "--fusion", "maximum", broken="forward")
    check(trained, "the plug-in broken-plugin failed", "ValueError: broken forward", "uninstall")
    for broken, got in [("output", "got 'Tensor of"), ("width", ", 3]'")]:
        trained = run(*TRAIN, "--fusion", "maximum", broken=broken)
        check(trained, "the fusion maximum must return FusionOutput(x, weights) with x of", got)
        assert trained.stderr.count("mmfeat: error") == 1


def test_exceptions_of_other_code_are_not_those_of_a_plugin():
    with pytest.raises(ValueError) as raised:
        int("own")
    assert explain_plugin_error(raised.value) is None


def test_the_frame_of_a_trusted_module_is_named(monkeypatch):
    monkeypatch.setenv(TRUSTED, "json.decoder")
    with pytest.raises(ValueError) as raised:
        json.loads("{")
    text = str(explain_plugin_error(raised.value))
    assert text.startswith("the plug-in json.decoder failed in JSONDecoder.")
    assert "MMFEAT_LOG=debug" in text
