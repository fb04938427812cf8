"""What is done against unbalanced classes, and what it changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.checkpoint import input_shapes, load_model
from mmfeat.models.tasks import Multiclass, Multilabel
from tests.training.stores import Records, load, write_store
from training.data.dataset import Dataset
from training.data.splits import TEST, TRAIN
from training.fit.fit_result import logits_of
from training.fit.loop import fit
from training.fit.recipe import StepRecipe
from training.objectives import OBJECTIVES, imbalance
from training.objectives.imbalance import FITS, choose
from training.train import main as train

RECIPE = StepRecipe(
    metric="balanced_accuracy", seed=0, epochs=12, lr=0.01, weight_decay=0.01, batch_size=64,
    patience=12,
)  # fmt: skip
COUNT, RARE = 2000, 0.05


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A class of one in twenty that overlaps with the other; as a label too."""
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


def fitted_recall(dataset: Dataset, name: str, metric: str = "balanced_accuracy") -> float:
    """Part of the rare test rows that are found; at probability 0.5, whatever the threshold."""
    rows = dataset.parts[TRAIN]
    counts = dataset.objective.counts(dataset.targets[rows])
    assert counts is not None
    prior = tuple((counts / len(rows)).tolist())
    layers = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=dataset.objective.task.outputs,
        fusion="single",
        combination="linear",
        hidden=8,
        dropout=0.0,
        modality_dropout=0.0,
    )
    module = fit(
        layers, dataset, replace(RECIPE, metric=metric, imbalance=name, prior=prior)
    ).module
    logits = logits_of(module, dataset, dataset.parts[TEST])
    targets = dataset.targets[dataset.parts[TEST]]
    if logits.shape[1] == 1:
        return float((logits[targets[:, 0] > 0, 0] > 0).mean())
    return float((logits.argmax(axis=1) == targets)[targets == 0].mean())


def test_what_treats_classes_alike_finds_more_of_the_rare_class(store: str) -> None:
    dataset = load(store)
    assert dataset.objective.task == Multiclass(["rare", "usual"])
    recall = {name: fitted_recall(dataset, name, "accuracy") for name in FITS["multiclass"]}
    for name in ("logit_adjustment", "class_weights", "balanced_sampling"):
        assert recall[name] > recall["none"] + 0.2, recall


def test_pos_weight_finds_more_of_a_rare_label(store: str) -> None:
    from mmfeat.features.store import FeatureStore
    from training.data.dataset import load_dataset
    from training.data.splits import SplitRule

    features = FeatureStore(store)
    dataset = load_dataset(
        features,
        list(features.columns.values()),
        OBJECTIVES["multilabel"]("labels"),
        SplitRule("split"),
    )
    recall = {name: fitted_recall(dataset, name, "map") for name in ("none", "pos_weight")}
    assert recall["pos_weight"] > recall["none"] + 0.2, recall


def multiclass_loss(name: str, logits: list[float], target: int) -> float:
    objective = OBJECTIVES["multiclass"]("label")
    objective.know(Multiclass(["a", "b"]))
    loss = objective.loss(replace(RECIPE, imbalance=name, prior=(0.9, 0.1)))
    return float(loss(torch.tensor([logits], dtype=torch.float32), torch.tensor([target])))


def test_losses_worked_out_by_hand() -> None:
    p = 1 / (1 + np.e)  # of class 1 by the logits (1, 0)
    assert multiclass_loss("none", [1, 0], 1) == pytest.approx(-np.log(p))
    adjusted = np.array([1 + np.log(0.9), np.log(0.1)])
    assert multiclass_loss("logit_adjustment", [1, 0], 1) == pytest.approx(
        np.log(np.exp(adjusted).sum()) - adjusted[1]
    )
    assert multiclass_loss("focal", [1, 0], 1) == pytest.approx(-((1 - p) ** 2) * np.log(p))


def test_class_weights_count_each_class_alike() -> None:
    objective = OBJECTIVES["multiclass"]("label")
    objective.know(Multiclass(["a", "b"]))
    loss = objective.loss(replace(RECIPE, imbalance="class_weights", prior=(0.9, 0.1)))
    logits, targets = torch.tensor([[1.0, 0.0]]).repeat(10, 1), torch.tensor([0] * 9 + [1])
    p = 1 / (1 + np.e)
    assert float(loss(logits, targets)) == pytest.approx(-(np.log(1 - p) + np.log(p)) / 2)


@pytest.mark.parametrize(
    ("part", "weight"), [(0.25, 3.0), (0.5, 1.0), (0.8, 1.0), (0.001, imbalance.HEAVIEST)]
)
def test_pos_weight_is_rows_without_over_rows_with_within_bounds(
    part: float, weight: float
) -> None:
    objective = OBJECTIVES["multilabel"]("labels")
    objective.know(Multilabel(["a"]))
    loss = objective.loss(replace(RECIPE, imbalance="pos_weight", prior=(part,)))
    has, lacks = (float(loss(torch.tensor([[0.0]]), torch.tensor([[t]]))) for t in (1, 0))
    assert has / lacks == pytest.approx(weight)


@pytest.mark.parametrize(
    ("task", "metric", "counts", "rows", "name", "why"),
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
def test_auto_acts_where_classes_are_far_apart_and_the_metric_weighs_them_evenly(
    task: str, metric: str, counts: list[int] | None, rows: int, name: str, why: str
) -> None:
    found = choose("auto", task, metric, None if counts is None else np.array(counts), rows)
    assert found.name == name
    assert why in found.why


def test_what_is_asked_for_is_done_where_it_goes_with_the_task() -> None:
    counts = np.array([10, 10])
    for task, names in FITS.items():
        for name in names:
            assert choose(name, task, "", counts, 20) == (name, "asked for")
    assert choose("focal", "multiclass", "", counts, 20, "ridge").name == "none"
    assert choose("auto", "multiclass", "macro_f1", np.array([99, 1]), 100, "ridge").name == "none"
    assert choose("balanced_sampling", "multiclass", "", counts, 20, "logistic").name == "none"


@pytest.mark.parametrize(
    ("task", "asked", "fits"),
    [
        ("multiclass", "pos_weight", "auto, none, logit_adjustment, class_weights, focal"),
        ("multilabel", "logit_adjustment", "auto, none, pos_weight, focal"),
        ("regression", "focal", "auto, none"),
    ],
)
def test_what_does_not_go_with_the_task_is_refused_with_what_does(
    task: str, asked: str, fits: str
) -> None:
    with pytest.raises(MmfeatError) as caught:
        choose(asked, task, "", np.array([1, 1]), 2)
    assert f"must be one of: {fits}" in str(caught.value)


def test_the_choice_and_its_reason_are_kept_in_the_model(
    store: str, tmp_path: Path, make_store: Callable[..., str]
) -> None:
    quick = [store, str(tmp_path / "model"), "--target", "label", "--epochs", "1", "--lr", "0.01"]
    train([*quick, "--fusion", "single", "--metric", "macro_f1", "--hidden", "8"])
    config = load_model(str(tmp_path / "model")).config
    assert config["imbalance"] == "logit_adjustment"
    assert "macro_f1 weighs classes evenly" in config["imbalance_why"]
