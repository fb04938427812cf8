"""`mmfeat train` without --fusion: validation chooses columns and model."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.models.saved_model import load_model
from tests.training.runs import read_json, read_weights, run_evaluate
from tests.training.stores import make_splits
from training.train import main

MakeStore = Callable[..., str]


def search(store: str, model: Path, *flags: str) -> dict:
    main([store, str(model), "--target", "label", "--hidden", "32", *flags])
    metrics: dict = read_json(model / "metrics.json")
    return metrics


def noisy(rows: int = 400, dim: int = 12, seed: int = 0) -> dict:
    """Return records whose image tells the class, and whose text is noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, rows)
    image = rng.normal(size=(3, dim))[classes] + rng.normal(0, 0.7, (rows, dim))
    features = {"image": image, "text": rng.normal(size=(rows, dim))}
    labels = [("red", "green", "blue")[c] for c in classes]
    return {"features": features, "metadata": {"label": labels, "split": make_splits(rows)}}


def test_an_interaction_needs_fusion(
    xor_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = search(xor_store, tmp_path / "model")
    assert metrics["headline"].startswith("Fusion beats the best single modality by 0.4")
    assert metrics["test"]["accuracy"] > 0.95
    assert "kernel" in metrics["model"] or "gmu" in metrics["model"]
    output = capsys.readouterr().out
    assert metrics["headline"] in " ".join(output.split())
    dropped = metrics["search"]["dropped"].values()
    assert any(re.search(r"worse in its trial \(accuracy .*\) than ", why) for why in dropped)
    single = [row for row in metrics["candidates"] if row["model"].startswith("image: ")]
    assert single
    assert all(not row["tied"] for row in single)
    report = (tmp_path / "model/report.html").read_text()
    assert metrics["headline"] in report
    assert all(line in unescape(report) for line in metrics["explanation"])


def test_a_useless_modality_costs_nothing(make_store: MakeStore, tmp_path: Path) -> None:
    metrics = search(make_store(**noisy()), tmp_path / "model")
    assert "loses" in metrics["headline"] or "tied" in metrics["headline"]
    assert "image" in metrics["model"]
    alone = search(make_store(**noisy()), tmp_path / "alone", "--modalities", "image")
    assert metrics["test"]["accuracy"] >= alone["test"]["accuracy"] - 0.03


def test_the_model_on_disk_is_the_one_in_the_documents(
    xor_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = search(xor_store, tmp_path / "model", "--folds", "3", "--ensemble", "4")
    result = run_evaluate(capsys, tmp_path / "model", xor_store, "--split", "test")
    assert result["accuracy"] == metrics["test"]["accuracy"]
    assert result["nll"] == metrics["test"]["nll"]
    assert metrics["search"]["folds"] == 3
    # Each row that chooses is predicted by models that were not fitted to it.
    assert metrics["validation"]["rows"] == metrics["search"]["rows"] == 1200


def test_without_folds_val_is_held_out(
    xor_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = search(xor_store, tmp_path / "model", "--folds", "0", "--quality", "fast")
    assert metrics["validation"]["rows"] == 300
    result = run_evaluate(capsys, tmp_path / "model", xor_store, "--split", "val")
    assert result["accuracy"] == metrics["validation"]["accuracy"]


def test_the_same_search_gives_the_same_bytes(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(**noisy(200))
    for name in ("one", "two"):
        search(store, tmp_path / name)
    assert read_weights(tmp_path / "one") == read_weights(tmp_path / "two")
    before = (tmp_path / "one/manifest.json").read_bytes()
    search(store, tmp_path / "one")  # a finished model is left as it is
    assert (tmp_path / "one/manifest.json").read_bytes() == before


def test_records_that_lack_the_chosen_modality_are_predicted(
    make_store: MakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = noisy()
    lacks_image = np.arange(400) % 7 == 0
    store = make_store(**records, present={"image": ~lacks_image})
    metrics = search(store, tmp_path / "model", "--quality", "fast")
    assert set(load_model(str(tmp_path / "model")).column_names) == {"image", "text"}
    result = run_evaluate(capsys, tmp_path / "model", store, "--split", "all")
    assert result["rows"] == 400
    assert metrics["test"]["per_subset"]["image+text"]["accuracy"] > 0.7


def test_regression(make_store: MakeStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(2, 300, 8))
    target = image[:, 0] + 0.5 * text[:, 1] + rng.normal(0, 0.1, 300)
    store = make_store(
        features={"image": image, "text": text},
        metadata={"label": target.tolist(), "split": make_splits(300)},
    )
    metrics = search(store, tmp_path / "model", "--task", "regression", "--metric", "r2")
    assert not any("logistic" in row["model"] for row in metrics["candidates"])
    assert metrics["test"]["r2"] > 0.8
    assert metrics["headline"].startswith("Fusion beats")


def test_multilabel_and_three_columns(make_store: MakeStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((300, 3)) < 0.4
    features = {
        name: labels @ rng.normal(size=(3, 8)) * (0.5 if name == "text" else 0.2)
        + rng.normal(0, 0.3, (300, 8))
        for name in ("image", "text", "text.more")
    }
    names = [[name for name, on in zip("abc", row, strict=True) if on] for row in labels]
    store = make_store(features=features, metadata={"label": names, "split": make_splits(300)})
    metrics = search(store, tmp_path / "model", "--task", "multilabel")
    assert {row["model"].split(":")[0] for row in metrics["candidates"]} >= {
        "image", "text", "text.more", "ridge", "logistic",
    }  # fmt: skip
    assert metrics["test"]["map"] > 0.8


def test_a_time_limit_is_stored_and_stops_networks(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(**noisy(200))
    metrics = search(store, tmp_path / "model", "--time-limit", "0.000001")
    assert metrics["search"]["reproducible"] is False
    assert all("gmu" not in row["model"] for row in metrics["candidates"])
    config = read_json(tmp_path / "model/config.json")["config"]
    assert config["search"]["time_limit"] == 0.000001
    assert {*metrics["search"]["dropped"].values()} == {"the time limit was reached"}


def test_a_class_of_validation_alone_is_no_training_row(
    make_store: MakeStore, tmp_path: Path
) -> None:
    records = noisy(200)
    records["metadata"]["label"][3] = "violet"  # a validation row
    metrics = search(make_store(**records), tmp_path / "model", "--quality", "fast")
    assert metrics["validation"]["unseen_labels"] == {"violet": 1}


@pytest.mark.parametrize("folds", ["0", "3"])
def test_models_that_diverge_are_dropped(make_store: MakeStore, tmp_path: Path, folds: str) -> None:
    store = make_store(**noisy(120))
    flags = ["--quality", "fast", "--folds", folds]
    metrics = search(store, tmp_path / "model", *flags, "--lr", "1e30")
    (reason,) = metrics["search"]["dropped"].values()
    assert reason == "its predictions are not finite"
    assert metrics["candidates"]
    assert np.isfinite([row["loss"] for row in metrics["candidates"]]).all()
    metrics = search(store, tmp_path / "weak", *flags, "--inverse-penalty", "1e-30")
    assert all(row["loss"] is not None for row in metrics["candidates"])


@pytest.mark.parametrize(
    "flags",
    [
        ["--folds", "1"],
        ["--folds", "51"],
        ["--ensemble", "0"],
        ["--ensemble", "101"],
        ["--time-limit", "0"],
        ["--fusion", "gmu", "--folds", "3"],
        ["--fusion", "logistic", "--condition", "pca"],
    ],
)
def test_options_that_do_not_fit_are_refused(
    xor_store: str, tmp_path: Path, flags: list[str]
) -> None:
    with pytest.raises((MmfeatError, SystemExit)):
        search(xor_store, tmp_path / "model", *flags)


@pytest.mark.parametrize("condition", ["none", "center", "l2", "standardize", "pca", "auto"])
def test_an_explicit_fusion_may_be_conditioned(
    xor_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], condition: str
) -> None:
    flags = ["--fusion", "gmu", "--condition", condition, "--lr", "0.003", "--epochs", "2"]
    metrics = search(xor_store, tmp_path / "model", *flags)
    tried = {row.get("conditioning") for row in metrics["candidates"]}
    expected = {
        "none": {None}, "auto": {"none", "l2", "standardize", "pca"},
    }.get(condition, {condition})  # fmt: skip
    assert tried == expected
    result = run_evaluate(capsys, tmp_path / "model", xor_store, "--split", "test")
    assert result["accuracy"] == metrics["test"]["accuracy"]


def test_from_many_rows_chosen_models_are_fitted_to_validation_rows_too(
    make_store: MakeStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.search.folds.MAX_FOLD_ROWS", 10)
    store = make_store(**noisy(200))
    metrics = search(store, tmp_path / "model", "--quality", "fast")
    held_out = search(store, tmp_path / "held_out", "--quality", "fast", "--folds", "0")
    assert metrics["search"]["refitted"] is True
    assert held_out["search"]["refitted"] is False
    assert metrics["validation"] == held_out["validation"]
    assert metrics["model"] == held_out["model"]
    assert read_weights(tmp_path / "model") != read_weights(tmp_path / "held_out")
    result = run_evaluate(capsys, tmp_path / "model", store, "--split", "test")
    assert result["nll"] == metrics["test"]["nll"]
