"""What a run of training wrote down, read and held against what is said of it later."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.evaluate import main as evaluate


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def weights(model: Path) -> bytes:
    """All of them, as they are on disk."""
    return (model / "model.safetensors").read_bytes()


def evaluated(capsys: pytest.CaptureFixture[str], model: Path, store: str, *more: str) -> Any:
    """What `evaluate --json` prints of a model on a store."""
    capsys.readouterr()
    evaluate([str(model), store, *more, "--json"])
    return json.loads(capsys.readouterr().out)


def assert_evaluate_agrees(
    capsys: pytest.CaptureFixture[str], model: Path, store: str, split: str
) -> None:
    """Of a split (`test` or `val`) it says whatever the training wrote down."""
    result = evaluated(capsys, model, store, "--split", split)
    written = read(model / "metrics.json")[{"test": "test", "val": "validation"}[split]]
    assert {name: result[name] for name in written} == written
