"""What the training loop can and cannot teach each fusion."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.checkpoint import input_shapes
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.inference import run
from tests.training.stores import load
from training.data.batches import Batch
from training.data.dataset import Dataset
from training.data.splits import TEST
from training.fit.device import CPU, Machine
from training.fit.fit_result import Fitted
from training.fit.loop import Trainer, choose_precision, fit
from training.fit.recipe import StepRecipe, batch_size_for

RECIPE = StepRecipe(
    lr=3e-3, weight_decay=0.01, batch_size=64, epochs=40, patience=12, metric="accuracy", seed=0
)


def fitted(dataset: Dataset, recipe: StepRecipe = RECIPE, **layers: Any) -> Fitted:
    shapes = input_shapes(dataset.features.columns)
    layers = {"combination": "linear", "hidden": 64, **layers}
    outputs = dataset.objective.task.outputs
    return fit(Architecture(**shapes, outputs=outputs, **layers), dataset, recipe)


def logits_of(best: Fitted, dataset: Dataset) -> np.ndarray:
    return run(best.module, *dataset.features.take(dataset.parts[TEST])).logits


def test_gmu_learns_the_exclusive_or_of_two_modalities(big_xor_store: str) -> None:
    dataset = load(big_xor_store)
    right = logits_of(fitted(dataset, fusion="gmu"), dataset).argmax(axis=1)
    assert (right == dataset.targets[dataset.parts[TEST]]).mean() >= 0.99


@pytest.mark.parametrize(
    ("fusion", "columns"),
    [
        ("sum", ["image", "text"]),
        ("concat", ["image", "text"]),
        ("single", ["image"]),
        ("single", ["text"]),
    ],
)
def test_an_additive_head_stays_at_chance_on_it(
    big_xor_store: str, fusion: str, columns: list[str]
) -> None:
    dataset = load(big_xor_store, columns)
    logits = logits_of(fitted(dataset, fusion=fusion), dataset)
    # A lucky bias alone gets three cells of four right, 75 %. At the median of its scores, where
    # half the rows go to each class, such a head stands at 50.
    score = logits[:, 1] - logits[:, 0]
    right = (score > np.median(score)) == (dataset.targets[dataset.parts[TEST]] == 1)
    assert right.mean() == pytest.approx(0.5, abs=0.06)


def test_a_missing_modality_costs_no_more_than_it_must(gap_store: str) -> None:
    gaps = load(gap_store)
    text = load(gap_store, ["text"])
    both = fitted(gaps, combination="mlp", modality_dropout=0.3)
    alone = fitted(text, fusion="single", combination="mlp")
    rows = gaps.parts[TEST][gaps.targets[gaps.parts[TEST]] >= 0]
    rows = rows[gaps.present["text"][rows]]
    labels = gaps.targets[rows]
    features, present = gaps.features.take(rows)
    hidden = present | {"image": np.zeros(len(rows), bool)}

    def right(best: Fitted, there: dict[str, np.ndarray]) -> float:
        return float((run(best.module, features, there).logits.argmax(axis=1) == labels).mean())

    assert right(both, hidden) >= right(alone, present) - 0.05
    assert right(both, present) >= right(both, hidden) + 0.05


def test_the_best_epoch_is_kept_and_training_stops_after_it(xor_store: str) -> None:
    best = fitted(load(xor_store), replace(RECIPE, patience=3), fusion="gmu")
    scores = [entry["val_accuracy"] for entry in best.log]
    assert best.score == max(scores) == scores[best.epoch - 1]
    assert len(best.log) == best.epoch + 3 < RECIPE.epochs


def test_the_caller_s_random_state_is_neither_used_nor_changed(xor_store: str) -> None:
    dataset, short = load(xor_store), replace(RECIPE, epochs=2)
    torch.manual_seed(1)
    first = fitted(dataset, short)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    second = fitted(dataset, short)
    np.testing.assert_array_equal(logits_of(first, dataset), logits_of(second, dataset))


def test_adjusting_and_sampling_win_back_the_rare_class(make_store: Callable[..., str]) -> None:
    rng = np.random.default_rng(0)
    rare = rng.random(4000) < 0.04
    x = rng.normal(0, 1, (4000, 4))
    x[:, 0] += 1.5 * rare
    splits = np.array(["train", "train", "val", "test"])[np.arange(4000) % 4].tolist()
    metadata = {"label": rare.astype(int).tolist(), "split": splits}
    dataset = load(make_store(features={"image": x}, metadata=metadata))
    train = dataset.targets[dataset.parts["train"]]
    prior = tuple((np.bincount(train) / len(train)).tolist())
    recall = []
    for imbalance in ("none", "logit_adjustment", "balanced_sampling"):
        recipe = replace(RECIPE, imbalance=imbalance, prior=prior)
        best = fitted(dataset, recipe, fusion="single")
        predicted = logits_of(best, dataset).argmax(axis=1)
        recall.append(predicted[dataset.targets[dataset.parts[TEST]] == 1].mean())
    assert min(recall[1:]) > recall[0] + 0.3


def test_the_weights_do_not_depend_on_where_the_rows_are(
    gap_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.shuffle.BLOCK", 50)
    weights = [
        fitted(load(gap_store, access=access), replace(RECIPE, epochs=3)).module.state_dict()
        for access in ("memory", "blocks")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("fusion", sorted({*FUSIONS, "late", "late_stacked"} - {"single"}))
def test_every_fusion_learns_in_bfloat16_too(xor_store: str, fusion: str) -> None:
    objective, dims = load(xor_store).objective, {"image": 8, "text": 8}
    tokens = {"text": 5} if fusion in FUSIONS and FUSIONS[fusion].tokens else {}
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
        trainer = Trainer(module, objective, RECIPE, 100, Machine(precision=precision))
        losses.append([float(trainer.step(batch)) for _ in range(5)])
        assert all(w.dtype == torch.float32 for w in module.parameters())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_bfloat16_is_taken_where_it_pays(xor_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, shapes = load(xor_store), {"dims": {"image": 4, "text": 4}}
    architecture = Architecture(**shapes, outputs=2, fusion="gmu", combination="mlp", hidden=16)
    precision, speedup = choose_precision(architecture, dataset, RECIPE, CPU)
    assert precision == ("bfloat16" if speedup >= 1.25 else "float32")
    for measured, taken in ((1.3, "bfloat16"), (1.2, "float32")):
        monkeypatch.setattr("training.fit.loop.measure_bfloat16", lambda *_, m=measured: m)
        assert choose_precision(architecture, dataset, RECIPE, CPU) == (taken, measured)


def test_the_learning_rate_rises_for_a_twentieth_and_falls_to_zero() -> None:
    curve = [RECIPE.lr_at(step, 1000) for step in range(1001)]
    assert np.argmax(curve) in (49, 50)
    assert max(curve) == pytest.approx(1)
    assert curve[0] == pytest.approx(0.02)
    assert curve[-1] == pytest.approx(0)


@pytest.mark.parametrize(("rows", "size"), [(10, 32), (5000, 100), (10_000_000, 1024)])
def test_a_batch_is_a_fiftieth_within_bounds(rows: int, size: int) -> None:
    assert batch_size_for(rows) == size
