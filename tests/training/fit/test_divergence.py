"""A training whose loss becomes NaN ends with an error, or keeps the weights before."""

from pathlib import Path

import numpy as np
import pytest

from mmfeat.cli import main
from mmfeat.models.saved_model import load_model
from tests.training.stores import write_store, xor_records
from training.fit import loop


@pytest.fixture
def features(tmp_path: Path) -> str:
    write_store(str(tmp_path / "features"), xor_records(300))
    return str(tmp_path / "features")


def train(features: str, output: Path, *flags: str) -> int:
    return main.main(
        ["train", features, str(output), "--target", "label", "--fusion", "gmu", *flags]
    )


def test_a_training_that_diverges_at_once_is_an_error(
    features: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(features, tmp_path / "model", "--epochs", "2", "--lr", "1e30") == 1
    error = capsys.readouterr().err
    assert "the training has diverged" in error
    assert "lower --lr" in error
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_finite_weights_whose_predictions_overflow_are_an_error(
    features: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = loop.Trainer._update

    def overflowing_step(trainer: loop.Trainer, batch: object) -> object:
        loss = step(trainer, batch)
        for weight in trainer.module.parameters():
            weight.data.fill_(1e38)
        return loss

    monkeypatch.setattr(loop.Trainer, "_update", overflowing_step)
    assert train(features, tmp_path / "model", "--epochs", "1", "--lr", "0.003") == 1
    assert "the training has diverged" in capsys.readouterr().err
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_the_weights_before_the_loss_became_nan_are_kept(
    features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = loop.Trainer._update, iter(range(10_000))

    def diverging_step(trainer: loop.Trainer, batch: object) -> object:
        loss = step(trainer, batch)
        if next(steps) == 12:
            for weight in trainer.module.parameters():
                weight.data.fill_(np.nan)
        return loss

    monkeypatch.setattr(loop.Trainer, "_update", diverging_step)
    assert (
        train(features, tmp_path / "model", "--epochs", "8", "--batch-size", "64", "--lr", "0.003")
        == 0
    )
    weights = load_model(str(tmp_path / "model")).module.state_dict().values()
    assert all(np.isfinite(values.numpy()).all() for values in weights)
