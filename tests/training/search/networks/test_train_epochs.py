"""Trainings of a search for a fixed number of epochs."""

import pytest
import torch

from tests.training.fit.steps.test_graphed_step import (
    CUDA,
    RECIPE,
    architecture_of,
    assert_equal_weights,
    needs_gpu,
    plain_loop,
)
from tests.training.stores import load
from training.fit.device import ComputeConfig
from training.search.networks.stage import train_epochs


@pytest.mark.parametrize("access", ["memory", "blocks"])
def test_the_cpu_takes_the_steps_of_a_plain_loop(gap_store: str, access: str) -> None:
    dataset = load(gap_store, access=access)
    torch.manual_seed(1)
    model = train_epochs(architecture_of(dataset), dataset, RECIPE)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1)), "the random state of the caller has changed"
    assert not model.training
    assert_equal_weights(model, plain_loop(dataset, RECIPE))


@needs_gpu
def test_a_gpu_returns_the_same_model_again_on_the_cpu(gap_store: str) -> None:
    dataset = load(gap_store)
    models = [
        train_epochs(architecture_of(dataset), dataset, RECIPE, ComputeConfig(CUDA))
        for _ in range(2)
    ]
    assert {weights.device.type for weights in models[0].state_dict().values()} == {"cpu"}
    assert_equal_weights(*models)
