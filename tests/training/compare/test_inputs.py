"""The inputs of the networks of a comparison."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mmfeat
from mmfeat.features import FeatureStore
from mmfeat.models.architecture import Architecture
from mmfeat.models.saved_model import save_weights
from tests.training.stores import Records, load, make_splits, write_store
from training.compare.compare_command import main
from training.compare.inputs import MIN_RATIO, condition, fit_inputs, is_clearly_better, read_inputs
from training.conditioning import attach_conditioning, with_conditioning
from training.evaluation.evaluate_model import evaluate_split
from training.fit.fit_result import compute_logits
from training.fit.loop import fit_adamw
from training.recipe import AdamWRecipe

DIM = 400


def wide_records(count: int = 300) -> Records:
    """Two classes; `image` is dense with a few large directions, `text` is mostly zeros."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    basis = rng.normal(0, 1, (6, DIM))
    weights = rng.normal(0, 1, (count, 6)) + 1.5 * labels[:, None] * np.eye(6)[0]
    image = weights @ basis + rng.normal(0, 2, (count, DIM))
    words = rng.random((count, DIM)) < np.where(np.arange(DIM) % 2 == labels[:, None], 0.03, 0.02)
    metadata = {"label": [f"label {n}" for n in labels], "split": make_splits(count)}
    return Records(features={"image": image, "text": words.astype(float)}, metadata=metadata)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(str(tmp_path_factory.mktemp("features")), wide_records())


def test_a_wide_column_tries_its_principal_components(features: str) -> None:
    dataset = load(features)
    for name, kind in (("image", "pca"), ("text", "idf_pca")):
        raw, conditioned = fit_inputs(dataset.select_columns([name]))
        assert raw == {}
        # Half of 180 rows.
        assert (conditioned[name].kind, conditioned[name].out_dim) == (kind, 90)


def test_a_narrow_column_stays_as_it_is(tmp_path: Path) -> None:
    records = wide_records()
    records.features = {"image": records.features["image"][:, : MIN_RATIO * 90]}
    assert fit_inputs(load(write_store(str(tmp_path), records))) == [{}]


def test_features_must_be_better_than_components_by_a_standard_error(features: str) -> None:
    dataset = load(features)
    truth = dataset.targets[dataset.split_rows["val"]]

    def logits(*errors: int) -> np.ndarray:
        predicted = truth.copy()
        predicted[[*errors]] = 1 - predicted[[*errors]]
        return np.eye(2, dtype=np.float32)[predicted]

    # Of the difference of d disagreements in n rows, the standard error is about sqrt(d) / n.
    for metric in ("accuracy", "macro_f1"):
        assert is_clearly_better(dataset, metric, logits(), logits(*range(12)))
        assert not is_clearly_better(dataset, metric, logits(*range(12)), logits())
        assert not is_clearly_better(dataset, metric, logits(1, 2), logits(1, 2))
        assert not is_clearly_better(dataset, metric, logits(*range(9)), logits(*range(9, 19)))


def test_a_network_of_conditioned_rows_predicts_raw_rows(features: str, tmp_path: Path) -> None:
    dataset = load(features).select_columns(["image"])
    inputs = fit_inputs(dataset)[1]
    architecture = Architecture(dims={"image": DIM}, outputs=2, fusion="single", hidden=8)
    layers, conditioned = condition(architecture, dataset, inputs)
    assert layers.dims == {"image": 90}
    recipe = AdamWRecipe(
        metric="accuracy", seed=0, epochs=3, lr=1e-2, weight_decay=0.0, batch_size=32, patience=9
    )
    model = fit_adamw(layers, conditioned, recipe).module
    raw = with_conditioning(architecture, inputs)
    attached = attach_conditioning(model, raw, inputs)
    rows = dataset.split_rows["test"]
    expected = compute_logits(model, conditioned, rows)
    assert compute_logits(attached, dataset, rows) == pytest.approx(expected, abs=1e-5)
    save_weights(str(tmp_path), attached)
    again = read_inputs("image", DIM, raw.conditioning, str(tmp_path))
    for name, values in inputs["image"].state_dict().items():
        assert torch.equal(again["image"].state_dict()[name], values), name


def test_all_networks_of_a_comparison_read_the_same_inputs(features: str, tmp_path: Path) -> None:
    flags = "--target label --seeds 2 --epochs 12 --hidden 16 --fusions concat,late --emap-rows 20"
    main([features, str(tmp_path / "out"), *flags.split(), "--workers", "2"])

    def conditioning(name: str, seed: int) -> dict[str, str]:
        trial = json.loads((tmp_path / "out/cells" / name / str(seed) / "cell.json").read_text())
        value: dict[str, str] = trial["conditioning"]
        return value

    chosen = conditioning("image", 0) | conditioning("text", 0)
    assert chosen, "no column was conditioned, so this test shows nothing"
    for name in ("concat", "late"):
        assert conditioning(name, 0) == conditioning(name, 1) == chosen
    assert conditioning("image", 1) == conditioning("image", 0)
    assert conditioning("logistic", 0) == {}
    model = mmfeat.load_model(str(tmp_path / "out/winner"))
    measured = evaluate_split(model, FeatureStore(features), "test")
    metrics = json.loads((tmp_path / "out/winner/metrics.json").read_text())
    assert measured["accuracy"] == metrics["test"]["accuracy"]
