"""Conditioning is fitted to training rows only, and a conditioned model takes raw features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from tests.training.stores import Records, load, write_store
from training.conditioning import (
    attach_conditioning,
    condition_dataset,
    fit_conditioning,
    with_conditioning,
    without_conditioning,
)
from training.conditioning import fit as fit_module
from training.data import TRAIN
from training.fit.fit_result import run_rows

ROWS, DIM = 200, 40


@pytest.fixture
def store(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    spectrum = np.linspace(3, 0.1, DIM)
    image = (rng.normal(size=(ROWS, DIM)) * spectrum + 1).astype("f2")
    text = np.where(rng.random((ROWS, 30)) < 0.06, rng.random((ROWS, 30)), 0).astype("f2")
    metadata = {
        "label": [f"c{row % 3}" for row in range(ROWS)],
        "split": ["train", "train", "val", "test"] * (ROWS // 4),
    }
    present = {"image": rng.random(ROWS) < 0.9}
    return write_store(str(tmp_path), Records({"image": image, "text": text}, metadata, present))


def training_rows(store: str, name: str) -> np.ndarray:
    dataset = load(store)
    rows = dataset.split_rows[TRAIN]
    features, present = dataset.features.take(rows)
    values: np.ndarray = features[name][present[name]].astype(np.float64)
    return values


def test_the_mean_is_that_of_the_training_rows(store: str) -> None:
    module = fit_conditioning(load(store), {"image": "standardize"})["image"]
    x = training_rows(store, "image")
    np.testing.assert_allclose(module.mean, x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module.scale, 1 / x.std(axis=0), rtol=1e-3)


def test_idf_is_that_of_scikit_learn(store: str) -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    module = fit_conditioning(load(store), {"text": "idf"})["text"]
    x = training_rows(store, "text")
    np.testing.assert_allclose(module.scale, TfidfTransformer().fit(x).idf_, rtol=1e-5)


@pytest.mark.parametrize("longest", [1024, 8])
def test_components_are_those_of_the_svd(
    store: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by subspace iteration, which longer vectors get."""
    monkeypatch.setattr(fit_module, "_MAX_COVARIANCE", longest)
    module = fit_conditioning(load(store), {"image": "pca:4"})["image"]
    x = training_rows(store, "image")
    x = x - x.mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    vectors = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:4].T
    overlap = np.linalg.svd(vectors.T @ module.basis.numpy())[1]
    assert overlap.min() > (0.999 if longest > DIM else 0.99)
    projected = (x - x.mean(axis=0)) @ module.basis.numpy()
    inputs = torch.from_numpy(training_rows(store, "image")).float()
    np.testing.assert_allclose(module(inputs), projected, atol=1e-4)


@pytest.mark.parametrize("text", ["center", "l2", "standardize", "idf", "pca:5", "idf_pca:3"])
@pytest.mark.parametrize("fusion", ["gmu", "late", "single"])
def test_a_model_of_conditioned_features_becomes_one_of_raw_features(
    store: str, text: str, fusion: str
) -> None:
    columns = ["image"] if fusion == "single" else ["image", "text"]
    dataset = load(store, columns)
    modules = fit_conditioning(dataset, dict.fromkeys(columns, text))
    dims = {column.name: column.dim for column in dataset.features.columns}
    layers = Architecture(dims, outputs=3, fusion=fusion, hidden=8)
    whole = with_conditioning(layers, modules)
    conditioned = condition_dataset(dataset, modules)
    torch.manual_seed(0)
    model = build_model(without_conditioning(whole, modules)).eval()
    raw = attach_conditioning(model, whole, modules)
    rows = np.arange(ROWS)
    expected, found = (run_rows(m, d, rows) for m, d in ((model, conditioned), (raw, dataset)))
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_array_equal(found.present, expected.present)


def test_features_of_a_store_are_conditioned_like_those_in_memory(store: str) -> None:
    memory, blocks = load(store, access="memory"), load(store, access="blocks")
    kinds = {"image": "pca:6", "text": "idf"}
    modules = [fit_conditioning(dataset, kinds) for dataset in (memory, blocks)]
    rows = np.arange(0, ROWS, 3)
    parts = [
        condition_dataset(dataset, fitted).features.take(rows)
        for dataset, fitted in zip((memory, blocks), modules, strict=True)
    ]
    for name in kinds:
        np.testing.assert_array_equal(parts[0][0][name], parts[1][0][name])


def test_test_rows_do_not_matter(store: str) -> None:
    dataset = load(store)
    kinds = {"image": "pca:6", "text": "standardize"}
    fewer = replace(dataset, split_rows={**dataset.split_rows, "test": np.array([], np.int64)})
    for name in kinds:
        one, other = (fit_conditioning(d, kinds)[name].state_dict() for d in (dataset, fewer))
        assert all(torch.equal(one[key], other[key]) for key in one)
