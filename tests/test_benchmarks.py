"""The GPU benchmark: what it prints, and what it says without a GPU."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.extract_gpu import Figures, Options, _to_json
from tests.programs import REPOSITORY

KEYS = {
    "b32_per_s", "l14_per_s", "b32_forward_per_s", "l14_forward_per_s", "l14_vs_forward",
    "b32_vs_limit", "whole_run_s", "cosine_mean", "cosine_min",
}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_benchmark_refuses_in_one_line():
    command = [sys.executable, "-m", "benchmarks.extract_gpu"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stderr == "extract_gpu: this machine has no GPU that torch can use\n"
    assert result.stdout == ""


def test_the_benchmark_compares_with_the_limits_of_the_gpu():
    def figures(per_s, forward, cosine):
        return Figures(10.0, per_s, {}, {64: forward / 2, 256: forward}, np.full(9, cosine), 0.02)

    models = {"B/32": figures(9000, 25000, 0.9999), "L/14": figures(2000, 2200, 0.9997)}
    values = _to_json(Options(), models, {"nvjpeg_resized": 15000.0})
    assert values.keys() >= KEYS
    assert values["b32_vs_limit"] == 0.6
    assert values["l14_vs_forward"] == 0.909
    assert values["cosine_min"] == 0.9997
    assert json.loads(json.dumps(values)) == values
