"""The training loop: what it learns, and how it stops."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.inference import run_model
from mmfeat.models.saved_model import input_shapes
from tests.training.stores import load
from training.data.dataset import Dataset
from training.data.resident import Batch
from training.data.split_rule import TEST
from training.fit.device import CPU, ComputeConfig, faster_precision
from training.fit.fit_result import FitResult, stalled_epochs
from training.fit.loop import fit_adamw, measure_bfloat16
from training.fit.steps.trainer import Trainer
from training.recipe import AdamWRecipe, default_batch_size

RECIPE = AdamWRecipe(
    lr=3e-3, weight_decay=0.01, batch_size=64, epochs=40, patience=12, metric="accuracy", seed=0
)


def fit(dataset: Dataset, recipe: AdamWRecipe = RECIPE, **layers: Any) -> FitResult:
    shapes = input_shapes(dataset.features.columns)
    layers = {"combination": "linear", "hidden": 64, **layers}
    outputs = dataset.objective.task.outputs
    return fit_adamw(Architecture(**shapes, outputs=outputs, **layers), dataset, recipe)


def compute_logits(best: FitResult, dataset: Dataset) -> np.ndarray:
    return run_model(best.module, *dataset.features.take(dataset.split_rows[TEST])).logits


def test_gmu_learns_the_exclusive_or_of_two_modalities(big_xor_store: str) -> None:
    dataset = load(big_xor_store)
    predicted = compute_logits(fit(dataset, fusion="gmu"), dataset).argmax(axis=1)
    assert (predicted == dataset.targets[dataset.split_rows[TEST]]).mean() >= 0.99


@pytest.mark.parametrize(
    ("fusion", "columns"),
    [
        ("sum", ["image", "text"]),
        ("concat", ["image", "text"]),
        ("single", ["image"]),
        ("single", ["text"]),
    ],
)
def test_an_additive_model_is_at_chance_on_xor(
    big_xor_store: str, fusion: str, columns: list[str]
) -> None:
    dataset = load(big_xor_store, columns)
    logits = compute_logits(fit(dataset, fusion=fusion), dataset)
    # A bias alone can get three of the four sign pairs right, 75 %. A threshold at the median
    # score, which predicts each class for half of the rows, leaves such a model at 50 %.
    score = logits[:, 1] - logits[:, 0]
    correct = (score > np.median(score)) == (dataset.targets[dataset.split_rows[TEST]] == 1)
    assert correct.mean() == pytest.approx(0.5, abs=0.06)


def test_a_missing_modality_costs_little(gap_store: str) -> None:
    gaps = load(gap_store)
    text = load(gap_store, ["text"])
    both = fit(gaps, combination="mlp", modality_dropout=0.3)
    alone = fit(text, fusion="single", combination="mlp")
    rows = gaps.split_rows[TEST][gaps.targets[gaps.split_rows[TEST]] >= 0]
    rows = rows[gaps.present["text"][rows]]
    labels = gaps.targets[rows]
    features, present = gaps.features.take(rows)
    hidden = present | {"image": np.zeros(len(rows), bool)}

    def accuracy(best: FitResult, present: dict[str, np.ndarray]) -> float:
        return float(
            (run_model(best.module, features, present).logits.argmax(axis=1) == labels).mean()
        )

    assert accuracy(both, hidden) >= accuracy(alone, present) - 0.05
    assert accuracy(both, present) >= accuracy(both, hidden) + 0.05


def test_early_stopping_keeps_the_best_epoch(xor_store: str) -> None:
    best = fit(load(xor_store), replace(RECIPE, patience=3), fusion="gmu")
    scores = [entry["val_accuracy"] for entry in best.log]
    assert best.score == max(scores) == scores[best.epoch - 1]
    assert len(best.log) == scores.index(max(scores)) + 1 + 3 < RECIPE.epochs


def test_the_random_state_of_the_caller_is_neither_used_nor_changed(xor_store: str) -> None:
    dataset, short = load(xor_store), replace(RECIPE, epochs=2)
    torch.manual_seed(1)
    first = fit(dataset, short)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    second = fit(dataset, short)
    np.testing.assert_array_equal(compute_logits(first, dataset), compute_logits(second, dataset))


def test_imbalance_methods_raise_the_recall_of_a_rare_class(make_store: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    rare = rng.random(4000) < 0.04
    x = rng.normal(0, 1, (4000, 4))
    x[:, 0] += 1.5 * rare
    splits = np.array(["train", "train", "val", "test"])[np.arange(4000) % 4].tolist()
    metadata = {"label": rare.astype(int).tolist(), "split": splits}
    dataset = load(make_store(features={"image": x}, metadata=metadata))
    train = dataset.targets[dataset.split_rows["train"]]
    prior = tuple((np.bincount(train) / len(train)).tolist())
    recall = []
    for imbalance in ("none", "logit_adjustment", "balanced_sampling"):
        recipe = replace(RECIPE, imbalance=imbalance, prior=prior)
        best = fit(dataset, recipe, fusion="single")
        predicted = compute_logits(best, dataset).argmax(axis=1)
        recall.append(predicted[dataset.targets[dataset.split_rows[TEST]] == 1].mean())
    assert min(recall[1:]) > recall[0] + 0.3


def test_the_weights_do_not_depend_on_the_access(
    gap_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.shuffle.BLOCK", 50)
    weights = [
        fit(load(gap_store, access=access), replace(RECIPE, epochs=3)).module.state_dict()
        for access in ("memory", "blocks")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("fusion", sorted({*FUSIONS, "late", "late_stacked"} - {"single"}))
def test_every_fusion_trains_in_bfloat16(xor_store: str, fusion: str) -> None:
    objective, dims = load(xor_store).objective, {"image": 8, "text": 8}
    tokens = {"text": 5} if fusion in FUSIONS and FUSIONS[fusion].takes_tokens else {}
    layers = {"fusion": fusion, "combination": "mlp", "hidden": 32, "tokens": tokens}
    architecture = Architecture(dims=dims, outputs=2, **layers)
    losses = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        batch = Batch(
            {c: torch.randn(64, *([tokens[c]] if c in tokens else []), 8) for c in dims},
            {c: torch.rand(64, *([tokens[c]] if c in tokens else [])) < 0.8 for c in dims},
            torch.randint(2, (64,)),
        )
        module = build_model(architecture)
        trainer = Trainer(module, objective, RECIPE, 100, ComputeConfig(precision=precision))
        step = trainer.make_step(lambda batch=batch: batch)
        losses.append([float(step()) for _ in range(5)])
        assert all(w.dtype == torch.float32 for w in module.parameters())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_bfloat16_is_used_if_it_is_faster(xor_store: str) -> None:
    dataset, shapes = load(xor_store), {"dims": {"image": 4, "text": 4}}
    architecture = Architecture(**shapes, outputs=2, fusion="gmu", combination="mlp", hidden=16)
    assert measure_bfloat16(architecture, dataset, RECIPE, CPU) > 0
    assert [faster_precision(speedup) for speedup in (1.3, 1.2)] == ["bfloat16", "float32"]


def test_learning_rate_schedule() -> None:
    curve = [RECIPE.lr_factor(step, 1000) for step in range(1001)]
    assert np.argmax(curve) in (49, 50)
    assert max(curve) == pytest.approx(1)
    assert curve[0] == pytest.approx(0.02)
    assert curve[-1] == pytest.approx(0)


@pytest.mark.parametrize(("rows", "size"), [(10, 32), (5000, 100), (10_000_000, 1024)])
def test_default_batch_size(rows: int, size: int) -> None:
    assert default_batch_size(rows) == size


def test_a_flat_metric_stops_training_though_the_loss_falls(make_store: Callable[..., str]) -> None:
    x = np.linspace(1, 2, 400)[:, None]
    # Nine of ten labels are "yes", and the feature does not tell which.
    labels = ["no" if number % 10 == 7 else "yes" for number in range(400)]
    splits = ["val" if number % 4 == 3 else "train" for number in range(400)]
    dataset = load(make_store(features={"image": x}, metadata={"label": labels, "split": splits}))
    recipe = replace(RECIPE, lr=1e-3, epochs=30, patience=4)
    best = fit(dataset, recipe, fusion="single")
    scores = [entry["val_accuracy"] for entry in best.log]
    losses = [entry["val_loss"] for entry in best.log]
    assert scores[-4:] == [max(scores)] * 4
    assert losses[-4] > losses[-1] + 0.001
    assert len(best.log) == scores.index(max(scores)) + 1 + 4 < recipe.epochs


def log_of(values: list[float | None], losses: list[float | None]) -> list[dict[str, Any]]:
    return [{"val_f1": v, "val_loss": loss} for v, loss in zip(values, losses, strict=True)]


def test_stalled_epochs() -> None:
    falling: list[float | None] = [0.9, 0.8, 0.7, 0.6]

    def count(values: list[float | None], *, minimized: bool = False) -> int:
        return stalled_epochs(log_of(values, falling), "f1", minimized=minimized)

    assert stalled_epochs([], "f1", minimized=False) == 0
    assert count([0.5, 0.5, 0.5, 0.5]) == 3
    assert count([0.5, 0.6, 0.4, 0.6]) == 2
    assert count([0.5, 0.6, 0.4, 0.3], minimized=True) == 0
    assert count([None, None, None, None]) == 0, "the loss counts while the metric is undefined"
    assert count([None, 0.5, None, None]) == 2
