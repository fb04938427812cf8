"""Successive halving of recipes."""

from dataclasses import replace

import pytest
import torch

from mmfeat.models.architecture import Architecture
from tests.training.stores import load, write_store, xor_records
from training.data import Dataset
from training.fit.halving import fit_by_halving
from training.fit.loop import Training, fit_adamw
from training.recipe import AdamWRecipe

RECIPE = AdamWRecipe(
    metric="accuracy", seed=3, epochs=12, lr=1e-3, weight_decay=0.01, batch_size=32, patience=12
)
LEARNING_RATES = (1e-7, 1e-2, 1e-6, 3e-3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_store(str(tmp_path_factory.mktemp("features")), xor_records(600)))


@pytest.fixture(scope="module")
def architecture(dataset: Dataset) -> Architecture:
    dims = {column.name: column.dim for column in dataset.features.columns}
    return Architecture(dims=dims, outputs=dataset.objective.task.outputs, fusion="gmu", hidden=16)


def test_pauses_do_not_change_a_training(dataset: Dataset, architecture: Architecture) -> None:
    whole = fit_adamw(architecture, dataset, RECIPE)
    paused = Training(architecture, dataset, RECIPE)
    other = Training(architecture, dataset, replace(RECIPE, lr=1e-2, seed=9))
    for epochs in (1, 2, 5):
        paused.run(epochs)
        other.run(epochs)  # draws random numbers of its own
        torch.rand(7)
    result = paused.run()
    assert result.epoch == whole.epoch
    assert len(result.log) == len(whole.log)
    for name, weights in whole.module.state_dict().items():
        assert torch.equal(weights, result.module.state_dict()[name]), name


def test_half_of_the_recipes_is_dropped_at_each_rung(
    dataset: Dataset, architecture: Architecture
) -> None:
    recipes = [replace(RECIPE, lr=lr) for lr in LEARNING_RATES]
    results = fit_by_halving([Training(architecture, dataset, r) for r in recipes], first_rung=3)
    assert [result.recipe for result in results] == recipes
    assert sorted(len(result.log) for result in results) == [3, 3, 6, 12]
    assert [len(results[number].log) for number in (0, 2)] == [3, 3]
    longest = max(results, key=lambda result: len(result.log))
    assert max(results, key=lambda result: result.sort_key) is longest
    alone = fit_adamw(architecture, dataset, longest.recipe)
    for name, weights in alone.module.state_dict().items():
        assert torch.equal(weights, longest.module.state_dict()[name]), name


def test_of_equal_recipes_the_first_is_kept(dataset: Dataset, architecture: Architecture) -> None:
    results = fit_by_halving(
        [Training(architecture, dataset, RECIPE) for _ in range(3)], first_rung=2
    )
    assert [len(result.log) for result in results] == [12, 4, 2]


def test_one_recipe_trains_to_its_end(dataset: Dataset, architecture: Architecture) -> None:
    (result,) = fit_by_halving([Training(architecture, dataset, RECIPE)], first_rung=1)
    assert len(result.log) == RECIPE.epochs
