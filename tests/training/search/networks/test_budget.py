"""Trials and final trainings of networks take from one budget of work."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.runs import read_json
from tests.training.stores import make_splits
from training.search import search as search_module
from training.search.networks import budget as budget_module
from training.search.networks.budget import Budget
from training.train import main

MakeStore = Callable[..., str]
Epochs = Callable[[float], tuple[list[int], dict[str, str]]]

FINISHED = re.compile(r"epochs (\d+)")


def test_a_budget_grows_slower_than_the_rows_and_is_spent() -> None:
    small, large = Budget.of(500, "default"), Budget.of(200_000, "default")
    assert Budget.of(2000, "default").left == small.left
    assert small.left < large.left < small.left * 100
    assert small.take(small.left / 2)
    assert not small.take(small.left * 2)
    assert small.take(small.left)


@pytest.fixture
def epochs(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Epochs:
    """Return a function: units of work → epochs of each network, and the dropped ones."""
    monkeypatch.setattr(search_module, "_HOPELESS", 1e9)
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(240, 6)) for name in ("image", "text")}
    labels = ["ab"[int(a[0] * b[0] > 0)] for a, b in zip(*features.values(), strict=True)]
    store = make_store(features=features, metadata={"label": labels, "split": make_splits(240)})

    def search(units: float) -> tuple[list[int], dict[str, str]]:
        monkeypatch.setattr(budget_module, "_UNIT_SECONDS", units)
        folder = tmp_path / f"model-{units}"
        main([store, str(folder), "--target", "label", "--hidden", "16"])
        metrics = read_json(folder / "metrics.json")
        found = [FINISHED.search(row["settings"]) for row in metrics["candidates"]]
        return [int(match[1]) for match in found if match], metrics["search"]["dropped"]

    return search


def test_a_final_training_gets_fewer_epochs_if_little_is_left(epochs: Epochs) -> None:
    (whole,), _ = epochs(100.0)
    # Three trials of 80 steps and five trainings of 160 take about 1,040 steps of 1.2 thousandths.
    (fewer,), _ = epochs(0.9)
    assert fewer < whole
    none, dropped = epochs(0.35)
    assert not none
    assert "no budget left" in dropped.values()
    none, dropped = epochs(1e-6)
    assert not none
    assert set(dropped.values()) == {"no budget left"}
