"""Plug-ins of an installed package, in the shell, in Python, and in worker processes."""

import os
import subprocess
import sys

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.plugins import TRUSTED, Registry, is_path, trust
from tests.conftest import REPOSITORY

MODULE = '''
import numpy as np
import torch

from mmfeat.encoders import Encoder
from mmfeat.models.fusion import FusionOutput, PooledFusion


class LetterEncoder(Encoder):
    """Counts of two letters."""

    modality, dim = "text", 2

    def identity(self):
        return {"name": "letters"}

    def decode(self, data):
        return data.decode()

    def encode(self, batch):
        return np.array([[text.count("c"), text.count("b")] for text in batch], np.float32)


def load(name, modality, options, settings):
    return LetterEncoder()


class MaxFusion(PooledFusion):
    """The largest value of each channel."""

    def __init__(self, modalities, hidden):
        super().__init__(modalities, hidden)
        self.out_dim = hidden

    def forward(self, h, present):
        return FusionOutput(h.max(dim=1).values)
'''

ENTRY_POINTS = """
[mmfeat.encoders]
letters = letters_plugin:load

[mmfeat.fusions]
maximum = letters_plugin:MaxFusion
"""

SCRIPT = """
import mmfeat

mmfeat.extract("shards", "api_features", encoder=["image=builtin:image", "text=letters:any"])
fusion = "letters_plugin:MaxFusion"
mmfeat.train("api_features", "api_model", target="label", fusion=fusion, epochs=2)
model = mmfeat.open("api_model")
encoders = {"text": "letters:any"}
print(model.predict(text="a small cat", encoders=encoders).labels)
"""


@pytest.fixture
def installed(tmp_path, toy_table):
    """Runs Python in a folder where a package with plug-ins is installed and shards are made."""
    site = tmp_path / "site"
    info = site / "letters_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "letters_plugin.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: letters-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)

    def run(*arguments, **environment):
        path = os.pathsep.join(map(str, (site, REPOSITORY)))
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )

    assert run("-m", "mmfeat", "shard", toy_table, "shards").returncode == 0
    return run


def test_an_encoder_and_a_fusion_of_a_package_work_by_name(installed, tmp_path):
    encoders = ("--encoder", "image=builtin:image", "--encoder", "text=letters:any")
    for command in [
        ("extract", "shards", "features", *encoders),
        ("train", "features", "model", "--target", "label", "--fusion", "maximum", "--epochs", "2"),
        ("evaluate", "model", "features"),
        ("score", "model", "features", "predictions"),
        ("compare", "features", "comparison", "--target", "label", "--fusions", "maximum,sum",
         "--epochs", "2", "--seeds", "1", "--workers", "2"),
    ]:  # fmt: skip
        result = installed("-m", "mmfeat", *command)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "maximum" in result.stdout
    result = installed("-c", SCRIPT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] in ("['cat']", "['dog']")
    # The fusion was named as MODULE:NAME. Another process must trust the module to load the model.
    refused = installed("-m", "mmfeat", "score", "api_model", "api_features", "api_predictions")
    assert refused.returncode == 1
    assert f"run with {TRUSTED}=letters_plugin" in refused.stderr
    scored = installed(
        "-m", "mmfeat", "score", "api_model", "api_features", "api_predictions",
        **{TRUSTED: "letters_plugin"},
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr


def test_a_broken_package_is_named(installed, tmp_path):
    (tmp_path / "site" / "letters_plugin.py").write_text("import nothing_of_this_name")
    result = installed(
        "-m", "mmfeat", "extract", "shards", "features", "--encoder", "text=letters:any"
    )
    assert result.returncode == 1
    assert "the plug-in 'letters' of letters-plugin cannot be imported" in result.stderr
    assert "Traceback" not in result.stderr


def test_names_of_plugins_never_replace_those_of_mmfeat():
    registry = Registry("mmfeat.none", {"own": 1})
    assert dict(registry) == {"own": 1}
    with pytest.raises(KeyError):
        registry["os:system"]
    registry["mine"] = 2
    assert registry["mine"] == 2
    del registry["mine"]
    assert "mine" not in registry


def test_a_path_is_loaded_only_from_a_trusted_module(monkeypatch):
    monkeypatch.setenv(TRUSTED, "")
    registry = Registry("mmfeat.none", {})
    assert "math:floor" not in registry
    trust("math:floor")
    assert registry["math:floor"](2.5) == 2
    assert "os:system" not in registry
    with pytest.raises(MmfeatError, match="the module math has no 'nothing'"):
        registry["math:nothing"]


@pytest.mark.parametrize("name", ["gmu", "a:b:c", "a-b:c", ":c", "a:", "../a:b", "a b:c"])
def test_other_names_are_no_paths(name):
    assert not is_path(name)
