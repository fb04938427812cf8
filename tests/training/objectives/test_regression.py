"""The regression task, from the target column to predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import load_model
from tests.training.runs import assert_evaluate_agrees, read_json, read_weights
from tests.training.stores import Records, make_splits, write_store
from training.evaluate import main as evaluate
from training.metrics.by_task import evaluate_regression, regression_metrics, sentiment_metrics
from training.train import main as train

COUNT = 600
PRICE = ["--target", "price", "--task", "regression"]
QUICK = [*PRICE, "--fusion", "gmu", "--hidden", "16", "--epochs", "8"]
SHALLOW = [*QUICK, "--lr", "0.01"]


def make_records(seed: int = 0) -> tuple[Records, np.ndarray]:
    """Return records, and the price of each.

    The price is around 1,000; the image shows one half, the text the other. Images, texts and
    targets have gaps.
    """
    rng = np.random.default_rng(seed)
    halves = rng.normal(0, 100, (2, COUNT))
    price = 1000 + halves.sum(axis=0)
    # The layers normalize the length of a feature, so its direction must show the price.
    direction, across = np.linspace(-1, 1, 5), np.array([2.0, -1.0, -2.0, -1.0, 2.0])
    image, text = (
        half[:, None] / 100 * direction + across + rng.normal(0, 0.1, (COUNT, 5)) for half in halves
    )
    target: list[float | None] = price.tolist()
    for row in range(3, COUNT, 40):
        target[row] = None if row % 80 < 40 else float("nan")
    draw = rng.integers(0, 8, (2, COUNT))
    present = {"image": draw[0] != 0, "text": draw[1] != 0}
    metadata: dict[str, Any] = {
        "price": target,
        "words": [None if p is None or np.isnan(p) else f" {p} " for p in target],
        "split": make_splits(COUNT),
    }
    return Records({"image": image, "text": text}, metadata, present), price


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(str(tmp_path_factory.mktemp("prices") / "features"), make_records()[0])


@pytest.fixture(scope="module")
def model(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "model"
    train([store, str(path), *SHALLOW])
    return path


def test_training_counts_every_record_and_learns(model: Path) -> None:
    metrics = read_json(model / "metrics.json")
    assert metrics["metric"] == "mae"
    assert metrics["temperature"] is None
    assert metrics["left_out"]["no target"] == 15
    assert sum(metrics["rows"].values()) + sum(metrics["left_out"].values()) == COUNT
    assert metrics["test"]["r2"] > 0.5
    subsets = metrics["test"]["per_subset"]
    assert subsets["image+text"]["rmse"] < 95
    # The text lacks one half, whose deviation is 100.
    assert subsets["text only"]["rmse"] > subsets["image+text"]["rmse"]
    config = read_json(model / "config.json")["config"]
    assert config["mean"] == pytest.approx(1000, abs=30)
    assert config["deviation"] == pytest.approx(141, abs=20)


def test_the_best_epoch_has_the_lowest_error(model: Path) -> None:
    log = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    metrics = read_json(model / "metrics.json")
    assert log[metrics["best_epoch"] - 1]["val_mae"] == min(entry["val_mae"] for entry in log)
    assert metrics["validation"]["mae"] == pytest.approx(min(e["val_mae"] for e in log), rel=1e-5)


@pytest.mark.parametrize("split", ["test", "val"])
def test_evaluate_agrees_with_training(
    store: str, model: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_evaluate_agrees(capsys, model, store, split)


def test_evaluate_prints_tables(
    store: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate([str(model), store])
    out = capsys.readouterr().out
    for words in ("pearson", "rmse", "text only", "no target"):
        assert words in out


def test_loaded_model_predicts_prices_or_nan(store: str, model: Path) -> None:
    loaded, price = load_model(str(model)), make_records()[1]
    features = FeatureStore(store)
    shards = [
        loaded.predict_shard({c: features.read_column(c, shard) for c in features.columns})
        for shard in features.shards
    ]
    prediction = np.concatenate([part.scores[:, 0] for part in shards])
    scorable = np.concatenate([part.scorable for part in shards])
    assert np.isnan(prediction[~scorable]).all()
    assert not scorable.all()
    assert np.corrcoef(prediction[scorable], price[scorable])[0, 1] > 0.7


def test_predictions_have_the_absolute_error(model: Path) -> None:
    rows = pq.read_table(model / "predictions.parquet")
    assert "probability" not in rows.column_names
    errors = np.abs(rows["target"].to_numpy() - rows["prediction"].to_numpy())
    np.testing.assert_allclose(rows["loss"].to_numpy(), errors, rtol=1e-4)


def test_numbers_as_text_give_the_same_weights(store: str, model: Path, tmp_path: Path) -> None:
    train([store, str(tmp_path / "model"), *SHALLOW, "--target", "words"])
    assert read_weights(tmp_path / "model") == read_weights(model)


def test_ridge_of_one_modality(store: str, tmp_path: Path) -> None:
    train([store, str(tmp_path / "model"), *PRICE, "--fusion", "ridge", "--modalities", "text"])
    config = read_json(tmp_path / "model/config.json")["config"]
    assert (config["fusion"], config["imbalance"]) == ("ridge", "none")
    # The other half of the price has a deviation of 100, the price one of 141. A centred vector of
    # length 1 along one direction shows little more than its sign.
    assert 100 < read_json(tmp_path / "model/metrics.json")["test"]["rmse"] < 135


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (["cheap"] * 60, "must hold numbers for --task regression"),
        ([3.0] * 60, "must differ among the training rows; got '3 in each of"),
        ([float("inf")] * 60, "must hold finite numbers"),
        ([[1.0]] * 60, "must hold numbers for --task regression"),
    ],
)
def test_targets_that_are_no_numbers_are_rejected(
    make_store: Callable[..., str], tmp_path: Path, prices: list[Any], message: str
) -> None:
    features = make_store(features={"x": np.eye(60)}, metadata={"price": prices})
    with pytest.raises(MmfeatError) as caught:
        train([features, str(tmp_path / "model"), *QUICK])
    assert message in str(caught.value)


def test_regression_metrics_by_hand() -> None:
    truth, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 5.0, 3.0], np.float32)
    assert regression_metrics(truth, predicted) == pytest.approx(
        {
            "mae": 6 / 4,
            "rmse": np.sqrt(14 / 4),
            # Deviations -2 -1 0 3 and -1 -1 2 0.
            "pearson": 3 / np.sqrt(14 * 6),
            "r2": 1 - 14 / 14,
        }
    )


def test_a_constant_prediction_has_no_correlation() -> None:
    truth = np.random.default_rng(0).normal(size=999)
    scores = regression_metrics(truth, np.full(999, 0.1, np.float32))
    assert scores["pearson"] == 0.0
    assert regression_metrics(np.full(9, 0.1), truth[:9])["r2"] == 0.0


def test_sentiment_metrics_by_hand() -> None:
    truth = np.array([-3.0, -1.0, 0.0, 0.0, 0.6, 3.0])
    predicted = np.array([-2.6, 0.2, 0.1, -0.1, 1.2, 9.0], np.float32)
    assert sentiment_metrics(truth, predicted) == pytest.approx(
        {
            # Correct: -3, the first 0, 0.6, 3.
            "acc2_has0": 4 / 6,
            # Correct: all of the four nonzero values but -1.
            "acc2_non0": 3 / 4,
            # Rounded: -3 -1 0 0 1 3 against -3 0 0 0 1 3.
            "acc7": 5 / 6,
        }
    )


@pytest.mark.parametrize("truth", [[0.0, 2.0], [-4.0, 1.0], []])
def test_other_targets_have_no_sentiment_metrics(truth: list[float]) -> None:
    assert sentiment_metrics(np.array(truth), np.zeros(len(truth), np.float32)) == {}


def test_subset_metrics_are_those_of_their_rows() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(size=(2, 50))
    present = {"image": np.arange(50) < 20, "text": np.ones(50, bool)}
    subsets = evaluate_regression(truth, predicted, present)["per_subset"]
    both = regression_metrics(truth[:20], predicted[:20])
    text = regression_metrics(truth[20:], predicted[20:])
    assert subsets["image+text"] == {"rows": 20, **both}
    assert subsets["text only"] == {"rows": 30, **text}
