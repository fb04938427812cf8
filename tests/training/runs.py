"""Flags and output of training runs, and its comparison with `mmfeat evaluate`."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.evaluate import main as evaluate


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())


def read_weights(model: Path) -> bytes:
    """Read the bytes of a model's weights."""
    return (model / "model.safetensors").read_bytes()


def run_evaluate(capsys: pytest.CaptureFixture[str], model: Path, store: str, *flags: str) -> Any:
    """Run `mmfeat evaluate --json` and return its output."""
    capsys.readouterr()
    evaluate([str(model), store, *flags, "--json"])
    return json.loads(capsys.readouterr().out)


def assert_evaluate_agrees(
    capsys: pytest.CaptureFixture[str], model: Path, store: str, split: str
) -> None:
    """Assert that `mmfeat evaluate` reports the metrics of metrics.json for `val` or `test`."""
    result = run_evaluate(capsys, model, store, "--split", split)
    metrics = read_json(model / "metrics.json")[{"test": "test", "val": "validation"}[split]]
    assert {name: result[name] for name in metrics} == metrics


def compare_flags(
    fusions: str, *, hidden: int, epochs: int, seeds: int, emap_rows: int
) -> list[str]:
    """Return the flags of a small comparison, with one learning rate and one combination."""
    numbers = {"hidden": hidden, "epochs": epochs, "seeds": seeds, "emap-rows": emap_rows}
    return [
        *("--target", "label", "--lr", "0.003", "--combinations", "linear", "--fusions", fusions),
        *(word for name, value in numbers.items() for word in (f"--{name}", str(value))),
    ]
