"""The GPU benchmarks: what they print, and what they say without a GPU."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.gpu.figures import Figures, ModelFigures
from benchmarks.gpu.limits import ForwardRates
from tests.programs import REPOSITORY

KEYS = {
    "b32_per_s", "l14_per_s", "b32_forward_per_s", "l14_forward_per_s", "l14_vs_forward",
    "b32_vs_limit", "whole_run_s", "cosine_mean", "cosine_min",
}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["extract_gpu", "train_gpu"])
def test_without_a_gpu_the_benchmark_refuses_in_one_line(name):
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stderr == f"{name}: this machine has no GPU that torch can use\n"
    assert result.stdout == ""


def test_the_benchmark_compares_with_the_limits_of_the_gpu():
    def figures(per_s, forward, cosine):
        rates = ForwardRates({64: forward / 2, 256: forward}, 2 * forward, 20.0)
        parts = (1.5 * per_s, 1000.0)
        return ModelFigures(10.0, per_s, {}, rates, *parts, np.full(9, cosine), 0.02)

    models = {"B/32": figures(9000, 25000, 0.9999), "L/14": figures(2000, 2200, 0.9997)}
    values = Figures(15_000, models, {"nvjpeg_resized": 15000.0, "cpu": 1250.0}).to_json()
    assert values.keys() >= KEYS
    assert values["b32_vs_limit"] == 0.6
    assert values["l14_vs_forward"] == 0.909
    assert values["l14_compiled_vs_forward"] == 0.682
    assert values["cpu_decode_vs_limit"] == 0.8
    assert values["cosine_min"] == 0.9997
    assert json.loads(json.dumps(values)) == values


@pytest.mark.slow
def test_the_benchmark_runs_end_to_end_without_a_gpu():
    """With tiny models, so that it is known to work when a GPU is there."""
    flags = ["--device=cpu", "--tiny", "--pictures=12", "--records=16", "--per-shard=8"]
    command = [sys.executable, "-m", "benchmarks.extract_gpu", *flags]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    values = json.loads(result.stdout.splitlines()[-1])
    assert values.keys() >= KEYS
    assert min(values[key] for key in KEYS) > 0
    assert values["cpu_decode_vs_limit"] > 0
    assert values["cosine_min"] > 0.99
    assert "L/14: the whole command" in result.stdout


@pytest.mark.slow
def test_the_training_benchmark_runs_end_to_end_without_a_gpu():
    flags = ["--device=cpu", "--tiny", "--profile", "--no-compile", "--epochs=2"]
    command = [sys.executable, "-m", "benchmarks.train_gpu", *flags]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    values = json.loads(result.stdout.splitlines()[-1])
    keys = ("rows_per_s", "rows_per_s_1024_eager", "metric", "metric_1024", "vs_bare")
    assert min(values[key] for key in keys) > 0
    assert values["same_bytes_again"]
    assert "bare eager, one" in result.stdout
    assert "Self CPU" in result.stdout
