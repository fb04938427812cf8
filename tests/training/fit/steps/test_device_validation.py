"""Validation on the device: the logits of the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.saved_model import input_shapes
from tests.training.data.numbered import numbered_reader
from tests.training.stores import load
from training.data import VAL, Batches
from training.fit.device import CPU, ComputeConfig
from training.fit.fit_result import compute_logits
from training.fit.loop import fit_adamw
from training.fit.steps import device_validation
from training.fit.steps.device_validation import DeviceValidation
from training.recipe import AdamWRecipe


@pytest.mark.parametrize("access", ["memory", "blocks"])
@pytest.mark.parametrize("rows", [7, 8192])
def test_logits_are_those_of_the_cpu(
    gap_store: str, monkeypatch: pytest.MonkeyPatch, access: str, rows: int
) -> None:
    monkeypatch.setattr(device_validation, "_ROWS", rows)
    dataset = load(gap_store, access=access)
    shapes = input_shapes(dataset.features.columns)
    layers = Architecture(**shapes, outputs=dataset.objective.task.outputs, hidden=16)
    model = build_model(layers).train()
    validation = DeviceValidation(
        dataset, dataset.split_rows[VAL], CPU, Batches(dataset, 32).resident
    )
    logits = validation.compute_logits(model)
    assert model.training
    expected = compute_logits(model, dataset, dataset.split_rows[VAL])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("in_memory", [True, False])
def test_tokens(gap_store: str, monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    monkeypatch.setattr(device_validation, "_MAX_BYTES", 1000)
    dataset = load(gap_store)
    features = numbered_reader([30, 30], in_memory=in_memory)
    layers = Architecture(**input_shapes(features.columns), outputs=2, hidden=8)
    model = build_model(layers)
    dataset = replace(dataset, features=features, targets=np.zeros(60, np.int64))
    rows = np.arange(1, 60, 2)
    resident = Batches(dataset, 32).resident
    logits = DeviceValidation(dataset, rows, CPU, resident).compute_logits(model)
    np.testing.assert_allclose(logits, compute_logits(model, dataset, rows), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_logs_the_metrics_of_its_model(gap_store: str) -> None:
    dataset = load(gap_store)
    shapes = input_shapes(dataset.features.columns)
    layers = Architecture(**shapes, outputs=dataset.objective.task.outputs, hidden=16)
    recipe = AdamWRecipe(
        lr=1e-3, weight_decay=0.01, batch_size=32, epochs=3, patience=9, metric="accuracy", seed=0
    )
    result = fit_adamw(layers, dataset, recipe, compute=ComputeConfig(torch.device("cuda", 0)))
    rows = dataset.split_rows[VAL]
    logits = compute_logits(result.module, dataset, rows)
    expected = dataset.objective.validate(dataset.targets[rows], logits)
    assert result.loss == pytest.approx(expected["loss"], rel=1e-3)
