"""The multilabel task, from the target column to predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import load_model
from tests.training.runs import assert_evaluate_agrees, read_json, read_weights, run_evaluate
from tests.training.stores import Records, make_splits, write_store
from training.evaluate import main as evaluate
from training.metrics.by_task import multilabel_metrics
from training.metrics.calibration import fit_thresholds
from training.objectives.registry import OBJECTIVES
from training.train import main as train

LABELS = ["bright", "cold", "dark"]
QUICK = [
    *("--task", "multilabel", "--fusion", "gmu"),
    *("--hidden", "16", "--epochs", "6", "--lr", "0.01"),
]
COUNT = 600


def make_records(seed: int = 0) -> tuple[Records, np.ndarray]:
    """Return records, and bool, shape (records, labels): the labels of each.

    The image shows two labels, the text a rare third. One record in eight lacks the image, one in
    eight the text, few both. One in 40 has no target, and four test records have an unseen label.
    """
    rng = np.random.default_rng(seed)
    has = rng.random((COUNT, 3)) < (0.5, 0.4, 0.12)
    directions = rng.normal(size=(3, 6)) * 1.5
    noise = rng.normal(0, 0.6, (2, COUNT, 6))
    image = (has[:, :2] * 2.0 - 1) @ directions[:2] + noise[0]
    text = (has[:, 2:] * 2.0 - 1) @ directions[2:] + noise[1]
    sets: list[list[str] | None] = [
        [name for name, has_label in zip(LABELS, row, strict=True) if has_label] for row in has
    ]
    for row in range(4, 24, 5):  # of the test split
        sets[row] = [*(sets[row] or []), "odd"]
    for row in range(31, COUNT, 40):
        sets[row] = None
    draw = rng.integers(0, 8, (2, COUNT))
    flags = {
        name: [None if s is None else int(name in s) for s in sets] for name in [*LABELS, "never"]
    }
    metadata: dict[str, Any] = {
        "labels": sets,
        "commas": [None if s is None else " , ".join(s[::-1]) for s in sets],
        "json": [None if s is None else json.dumps([*s, *s[:1]]) for s in sets],
        "split": make_splits(COUNT),
        **flags,
    }
    present = {"image": draw[0] != 0, "text": draw[1] != 0}
    return Records({"image": image, "text": text}, metadata, present), has


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(
        str(tmp_path_factory.mktemp("labels") / "features"), make_records()[0], shards=3
    )


@pytest.fixture(scope="module")
def model(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "model"
    train([store, str(path), "--target", "labels", *QUICK])
    return path


def test_training_counts_every_record_and_learns(model: Path) -> None:
    metrics = read_json(model / "metrics.json")
    assert metrics["metric"] == "map"
    assert sum(metrics["rows"].values()) + sum(metrics["left_out"].values()) == COUNT
    assert metrics["left_out"]["no target"] == 15
    assert metrics["left_out"]["no modality"] > 0
    assert metrics["test"]["classes"] == LABELS
    assert metrics["test"]["unseen_labels"] == {"odd": 4}
    # Chance is the fraction of rows with the label: about a third on average.
    assert metrics["test"]["map"] > 0.8
    both = metrics["test"]["per_subset"]["image+text"]
    assert both["map"] > metrics["test"]["per_subset"]["text only"]["map"]


@pytest.mark.parametrize("target", ["commas", "json"])
def test_lists_commas_and_json_give_the_same_weights(
    store: str, model: Path, tmp_path: Path, target: str
) -> None:
    train([store, str(tmp_path / "model"), "--target", target, *QUICK])
    assert read_weights(tmp_path / "model") == read_weights(model)


def test_binary_columns_give_the_same_weights(
    store: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = "dark, never,bright,cold"
    train([store, str(tmp_path / "model"), "--target", target, *QUICK])
    assert read_weights(tmp_path / "model") == read_weights(model)
    result = run_evaluate(capsys, tmp_path / "model", store)
    assert result["classes"] == LABELS
    assert result["unseen_labels"] == {}


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
    for words in ("subset_accuracy", "average precision", "bright", "image only"):
        assert words in out
    assert "'odd' (4)" in out


def test_loaded_model_predicts_labels_or_null(store: str, model: Path) -> None:
    loaded, (_, has) = load_model(str(model)), make_records()
    label_sets = []
    features = FeatureStore(store)
    for shard in features.shards:
        columns = {name: features.read_column(name, shard) for name in features.columns}
        predictions = loaded.predict(
            {name: column.features for name, column in columns.items()},
            {name: column.present for name, column in columns.items()},
        )
        scorable = np.any([column.present for column in columns.values()], axis=0)
        assert (predictions.scorable == scorable).all()
        assert np.isnan(predictions.scores[~scorable]).all()
        thresholds = loaded.module.thresholds.numpy()
        table = loaded.task.to_columns(predictions.scores, thresholds, scorable)
        label_sets += table["prediction"].to_pylist()
    correct = [
        (name in labels) == row[number]
        for labels, row in zip(label_sets, has, strict=True)
        if labels is not None
        for number, name in enumerate(LABELS)
    ]
    assert np.mean(correct) > 0.85


def test_predictions_have_label_lists_and_mean_losses(model: Path) -> None:
    rows = pq.read_table(model / "predictions.parquet")
    assert rows["prediction"].type == pa.list_(pa.string())
    assert ["odd"] in [row[-1:] for row in rows["target"].to_pylist()]
    p = np.stack([rows[f"p_{name}"].to_numpy() for name in LABELS], axis=1)
    truth = [[name in row for name in LABELS] for row in rows["target"].to_pylist()]
    losses = -np.log(np.where(truth, p, 1 - p)).mean(axis=1)
    np.testing.assert_allclose(rows["loss"].to_numpy(), losses, rtol=1e-3)


def test_calibration_does_not_harm_validation(model: Path) -> None:
    figures = read_json(model / "metrics.json")["temperature"]
    assert figures["nll_after"] <= figures["nll_before"]
    assert figures["macro_f1_after"] >= figures["macro_f1_before"]
    thresholds = load_model(str(model)).module.thresholds.numpy()
    assert dict(zip(LABELS, thresholds.tolist(), strict=True)) == figures["thresholds"]


def test_thresholds_maximize_macro_f1() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((2000, 2)) < (0.5, 0.1)).astype(np.uint8)
    logits = truth * 2.0 + rng.normal(0, 1, truth.shape) - (1, 3)
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)
    thresholds = fit_thresholds(p, truth)
    before, after = (multilabel_metrics(truth, p, at)["macro_f1"] or 0 for at in (0.5, thresholds))
    assert after > before + 0.1
    assert thresholds[1] < 0.4
    for at in np.linspace(0.02, 0.98, 97):
        assert (multilabel_metrics(truth, p, at)["macro_f1"] or 0) <= after


def test_a_label_with_few_validation_rows_keeps_its_threshold() -> None:
    truth = np.zeros((100, 1), np.uint8)
    truth[:4] = 1
    assert fit_thresholds(np.full((100, 1), 0.01, np.float32), truth).tolist() == [0.5]


def test_a_single_label_is_not_two_classes(make_store: Callable[..., str], tmp_path: Path) -> None:
    records, has = make_records()
    only = [["dark"] if row[2] else [] for row in has]
    features = make_store(
        features=records.features, metadata={"labels": only, "split": records.metadata["split"]}
    )
    train([features, str(tmp_path / "model"), "--target", "labels", *QUICK])
    test = read_json(tmp_path / "model/metrics.json")["test"]
    rows = np.arange(COUNT) % 5 == 4
    assert test["per_class"]["dark"]["support"] == has[rows, 2].sum()
    assert test["macro_f1"] == test["micro_f1"] == test["per_class"]["dark"]["f1"]


def test_missing_targets_are_none(store: str) -> None:
    objective = OBJECTIVES["multilabel"]("labels")
    table = pa.table({"labels": [["b", "a"], None, [], ["a", "b"]]})
    targets = objective.read_targets(table)
    assert objective.has_target(targets).tolist() == [True, False, True, True]
    assert objective.to_arrow(targets).to_pylist() == [["a", "b"], None, [], ["a", "b"]]


def test_targets_without_labels_are_rejected(
    make_store: Callable[..., str], tmp_path: Path
) -> None:
    features = make_store(features={"x": np.eye(50)}, metadata={"labels": [""] * 50})
    with pytest.raises(MmfeatError, match="at least one label to a training row"):
        train([features, str(tmp_path / "model"), "--target", "labels", *QUICK])


RAW: list[dict[str, Any]] = [
    {
        "id": f"r{number:03d}",
        "text": f"{'a warm sunny day' if number % 2 else 'a cold night'} {'rain' * (number % 3)}",
        "tags": [*(["warm"] if number % 2 else ["cold"]), *(["wet"] if number % 3 else [])],
        "degrees": None if number == 5 else 20.0 * (number % 2) + number % 3,
    }
    for number in range(240)
]


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def from_raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `features`, extracted from a table with a list column."""
    from mmfeat.cli import main

    folder = tmp_path_factory.mktemp("raw")
    rows = [row | {"tags": None if row["id"] == "r007" else row["tags"]} for row in RAW]
    table = folder / f"records.{request.param}"
    if request.param == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), table)
    assert main.main(["shard", str(table), str(folder / "shards"), "--key-column", "id"]) == 0
    command = ["extract", str(folder / "shards"), str(folder / "features")]
    assert main.main([*command, "--encoder", "text=builtin:text"]) == 0
    return folder


def train_and_score(mmfeat: Any, folder: Path, target: str, task: str) -> tuple[Any, Any]:
    """Return metrics.json, and the prediction of each key."""
    features, model, scored = (
        folder / "features",
        folder / f"model-{task}",
        folder / f"scores-{task}",
    )
    done = mmfeat("train", features, model, "--target", target, "--task", task)
    assert done.returncode == 0, done.stderr
    assert mmfeat("score", model, features, scored).returncode == 0
    table = ds.dataset(scored / "data").to_table()
    predictions = {row["__key__"]: row["prediction"] for row in table.to_pylist()}
    assert len(predictions) == len(table)
    return read_json(model / "metrics.json"), predictions


def test_a_list_column_from_table_to_scores(from_raw: Path, mmfeat: Any) -> None:
    metrics, predictions = train_and_score(mmfeat, from_raw, "tags", "multilabel")
    assert metrics["validation"]["classes"] == ["cold", "warm", "wet"]
    assert metrics["left_out"] == {"no target": 1}
    assert metrics["test"]["map"] > 0.95
    assert len(predictions) == len(RAW)
    assert np.mean([predictions[row["id"]] == row["tags"] for row in RAW]) > 0.9


def test_a_number_column_from_table_to_scores(from_raw: Path, mmfeat: Any) -> None:
    metrics, predictions = train_and_score(mmfeat, from_raw, "degrees", "regression")
    assert metrics["test"]["mae"] < 1.5
    rows = [row for row in RAW if row["degrees"] is not None]
    errors = [abs(predictions[row["id"]] - row["degrees"]) for row in rows]
    assert np.mean(errors) < 1.5
