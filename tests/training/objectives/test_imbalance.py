"""Methods against class imbalance: their choice and their effect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.architecture import Architecture
from mmfeat.models.saved_model import input_shapes, load_model
from mmfeat.models.tasks import Multiclass
from tests.training.stores import Records, load, write_store
from training.data.dataset import Dataset, load_dataset
from training.data.split_rule import TEST, TRAIN, SplitRule
from training.fit.fit_result import compute_logits
from training.fit.loop import fit_adamw
from training.objectives.imbalance import METHODS, choose_method
from training.objectives.registry import OBJECTIVES
from training.recipe import AdamWRecipe
from training.train import main as train

RECIPE = AdamWRecipe(
    metric="balanced_accuracy", seed=0, epochs=12, lr=0.01, weight_decay=0.01, batch_size=64,
    patience=12,
)  # fmt: skip
COUNT, RARE = 2000, 0.05


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A class of one record in twenty that overlaps with the other; as a label too."""
    rng = np.random.default_rng(0)
    rare = rng.random(COUNT) < RARE
    x = rng.normal(0, 1, (COUNT, 6)) + np.where(rare[:, None], 0.6, -0.6) * np.linspace(-1, 1, 6)
    splits = np.array(["train", "train", "val", "test"])[np.arange(COUNT) % 4].tolist()
    metadata = {
        "label": np.where(rare, "rare", "usual").tolist(),
        "labels": [["rare"] if r else [] for r in rare],
        "split": splits,
    }
    return write_store(
        str(tmp_path_factory.mktemp("rare") / "features"), Records({"x": x}, metadata)
    )


def fit_and_recall(dataset: Dataset, method: str, metric: str) -> float:
    """Return the recall of the rare class on the test rows at probability 0.5."""
    rows = dataset.split_rows[TRAIN]
    counts = dataset.objective.class_counts(dataset.targets[rows])
    assert counts is not None
    prior = tuple((counts / len(rows)).tolist())
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=dataset.objective.task.outputs,
        fusion="single",
        combination="linear",
        hidden=8,
        dropout=0.0,
        modality_dropout=0.0,
    )
    recipe = replace(RECIPE, metric=metric, imbalance=method, prior=prior)
    module = fit_adamw(architecture, dataset, recipe).module
    logits = compute_logits(module, dataset, dataset.split_rows[TEST])
    targets = dataset.targets[dataset.split_rows[TEST]]
    if logits.shape[1] == 1:
        return float((logits[targets[:, 0] > 0, 0] > 0).mean())
    return float((logits.argmax(axis=1) == targets)[targets == 0].mean())


def test_balancing_methods_raise_the_recall_of_a_rare_class(store: str) -> None:
    dataset = load(store)
    assert dataset.objective.task == Multiclass(["rare", "usual"])
    recall = {m: fit_and_recall(dataset, m, "accuracy") for m in METHODS["multiclass"]}
    for method in ("logit_adjustment", "class_weights", "balanced_sampling"):
        assert recall[method] > recall["none"] + 0.2, recall


def test_pos_weight_raises_the_recall_of_a_rare_label(store: str) -> None:
    features = FeatureStore(store)
    dataset = load_dataset(
        features,
        list(features.columns.values()),
        OBJECTIVES["multilabel"]("labels"),
        SplitRule("split"),
    )
    recall = {method: fit_and_recall(dataset, method, "map") for method in ("none", "pos_weight")}
    assert recall["pos_weight"] > recall["none"] + 0.2, recall


@pytest.mark.parametrize(
    ("task", "metric", "counts", "rows", "method", "why"),
    [
        ("multiclass", "macro_f1", [110, 10], 120, "logit_adjustment", "11 times the rows"),
        ("multiclass", "balanced_accuracy", [110, 10], 120, "logit_adjustment", "evenly"),
        ("multiclass", "macro_f1", [100, 10], 110, "none", "not more than 10"),
        ("multiclass", "accuracy", [999, 1], 1000, "none", "accuracy counts rows, not classes"),
        ("multilabel", "macro_f1", [500, 10], 1000, "pos_weight", "99 rows lack the rarest label"),
        ("multilabel", "macro_f1", [500, 100], 1000, "none", "not more than 10"),
        ("multilabel", "map", [500, 10], 1000, "none", "map looks at the order of rows"),
        ("regression", "mae", None, 1000, "none", "there are no classes"),
    ],
)
def test_auto_depends_on_the_ratio_and_the_metric(
    task: str, metric: str, counts: list[int] | None, rows: int, method: str, why: str
) -> None:
    choice = choose_method("auto", task, metric, None if counts is None else np.array(counts), rows)
    assert choice.name == method
    assert why in choice.why


def test_a_requested_method_is_used_unless_the_solver_cannot() -> None:
    counts = np.array([10, 10])
    for task, methods in METHODS.items():
        for method in methods:
            assert choose_method(method, task, "", counts, 20) == (method, "asked for")
    assert choose_method("focal", "multiclass", "", counts, 20, "ridge").name == "none"
    uneven = np.array([99, 1])
    assert choose_method("auto", "multiclass", "macro_f1", uneven, 100, "ridge").name == "none"
    choice = choose_method("balanced_sampling", "multiclass", "", counts, 20, "logistic")
    assert choice.name == "none"


@pytest.mark.parametrize(
    ("task", "requested", "methods"),
    [
        ("multiclass", "pos_weight", "auto, none, logit_adjustment, class_weights, focal"),
        ("multilabel", "logit_adjustment", "auto, none, pos_weight, focal"),
        ("regression", "focal", "auto, none"),
    ],
)
def test_a_method_of_another_task_is_rejected(task: str, requested: str, methods: str) -> None:
    with pytest.raises(MmfeatError, match=f"must be one of: {methods}"):
        choose_method(requested, task, "", np.array([1, 1]), 2)


def test_config_records_the_method_and_the_reason(store: str, tmp_path: Path) -> None:
    quick = [store, str(tmp_path / "model"), "--target", "label", "--epochs", "1", "--lr", "0.01"]
    train([*quick, "--fusion", "single", "--metric", "macro_f1", "--hidden", "8"])
    config = load_model(str(tmp_path / "model")).config
    assert config["imbalance"] == "logit_adjustment"
    assert "macro_f1 weighs classes evenly" in config["imbalance_why"]
