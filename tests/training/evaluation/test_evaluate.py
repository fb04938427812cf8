"""The command `mmfeat evaluate`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import load_model
from training.evaluate import main
from training.evaluation.evaluate_model import show_result
from training.train import main as train


@pytest.fixture(scope="module")
def gap_model(gap_store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("model") / "model")
    train(
        [gap_store, path, "--target", "label", "--fusion", "gmu", "--epochs", "4", "--lr", "0.003"]
    )
    return path


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(model: str, features: str, *flags: str) -> dict[str, Any]:
        capsys.readouterr()
        main([model, features, "--json", *flags])
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def test_json_is_the_only_standard_output(gap_model: str, gap_store: str) -> None:
    command = [sys.executable, "-m", "mmfeat", "evaluate", gap_model, gap_store, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert set(result) >= {
        "accuracy", "balanced_accuracy", "macro_f1", "auroc", "nll", "ece", "rows", "split",
        "classes", "per_class", "confusion_matrix", "per_subset", "left_out", "model", "features",
    }  # fmt: skip


def test_metrics_equal_scikit_learn_on_predictions(
    gap_model: str, gap_store: str, evaluate: Callable[..., dict[str, Any]]
) -> None:
    model, store = load_model(gap_model), FeatureStore(gap_store)
    truth, predicted = [], []
    for shard in store.shards:
        columns = {name: store.read_column(name, shard) for name in store.columns}
        scores = model.predict(
            {name: column.features for name, column in columns.items()},
            {name: column.present for name, column in columns.items()},
        ).scores
        for row, record in enumerate(store.read_samples(shard).to_pylist()):
            scorable = any(column.present[row] for column in columns.values())
            if record["split"] == "test" and (record["label"] or "").strip() and scorable:
                truth.append(record["label"])
                predicted.append(model.task.classes[scores[row].argmax()])
    result = evaluate(gap_model, gap_store)
    assert result["rows"] == len(truth)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert result["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_evaluate_agrees_with_training(
    gap_model: str, gap_store: str, evaluate: Callable[..., dict[str, Any]]
) -> None:
    written = json.loads((Path(gap_model) / "metrics.json").read_text())
    for split, name in (("test", "test"), ("val", "validation")):
        result = evaluate(gap_model, gap_store, "--split", split)
        assert {key: result[key] for key in written[name]} == written[name]


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_used_and_excluded_rows_are_all_records(
    gap_model: str, gap_store: str, evaluate: Callable[..., dict[str, Any]], split: str
) -> None:
    result = evaluate(gap_model, gap_store, "--split", split)
    assert result["rows"] + sum(result["left_out"].values()) == FeatureStore(gap_store).records
    subsets = result["per_subset"]
    assert set(subsets) == {"image+text", "image only", "text only"}
    assert sum(subset["rows"] for subset in subsets.values()) == result["rows"]
    correct = sum(subset["rows"] * subset["accuracy"] for subset in subsets.values())
    assert correct / result["rows"] == pytest.approx(result["accuracy"])
    counted = np.sum(result["confusion_matrix"]) + sum(result["unseen_labels"].values())
    assert counted == result["rows"]


def test_tables_without_json(
    gap_model: str, gap_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([gap_model, gap_store])
    out = capsys.readouterr().out
    for words in ("balanced_accuracy", "text only", "confusion matrix", "(1) blue", "no target"):
        assert words in out
    assert "'violet' (4)" in out


def test_features_of_another_encoder_are_rejected(
    gap_model: str, make_store: Callable[..., str]
) -> None:
    features = make_store(
        features={"image": np.ones((9, 6)), "text": np.ones((9, 6))},
        metadata={"label": ["red"] * 9},
        fingerprints={"text": "another-print"},
    )
    with pytest.raises(MmfeatError) as caught:
        main([gap_model, features])
    for words in ("'text'", "print-of-tex", "another-prin"):
        assert words in str(caught.value)


def test_a_missing_column_is_rejected(gap_model: str, make_store: Callable[..., str]) -> None:
    features = make_store(features={"image": np.ones((9, 6))}, metadata={"label": ["red"] * 9})
    with pytest.raises(MmfeatError, match=r"needs the feature column 'text'; got \['image'\]"):
        main([gap_model, features])


def test_records_without_a_split_column_need_split_all(
    gap_model: str, make_store: Callable[..., str], evaluate: Callable[..., dict[str, Any]]
) -> None:
    features = make_store(
        features={"image": np.ones((9, 6)), "text": np.ones((9, 6))},
        metadata={"label": ["red"] * 9},
    )
    with pytest.raises(MmfeatError, match="--split all"):
        main([gap_model, features])
    assert evaluate(gap_model, features, "--split", "all")["rows"] == 9


def test_an_empty_split_is_rejected(gap_model: str, make_store: Callable[..., str]) -> None:
    features = make_store(
        features={"image": np.ones((9, 6)), "text": np.ones((9, 6))},
        metadata={"label": ["red"] * 9, "split": ["train"] * 9},
    )
    with pytest.raises(MmfeatError, match=r"'test' of .* must have rows to evaluate on"):
        main([gap_model, features])


def test_of_many_classes_those_with_most_rows_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"class {number}" for number in range(120)]
    per_class = {name: {"f1": 0.5, "support": number} for number, name in enumerate(names)}
    result = {"split": "test", "task": "multiclass", "target": "label", "rows": 9, "left_out": {}}
    show_result(result | {"per_class": per_class})
    out = capsys.readouterr().out
    assert "the 100 classes with most rows; --json prints all 120" in out
    shown = [name for name in names if f" {name} " in out]
    assert shown == names[20:]
