"""A killed training run resumes and ends with the same weights as an uninterrupted run."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.saved_model import input_shapes
from tests.faults import kill, wait_for
from tests.training.fit.test_loop import RECIPE
from tests.training.stores import load
from training.data.dataset import Dataset
from training.fit.checkpoint import Checkpoint, CheckpointSlot
from training.fit.fit_result import FitResult, stalled_epochs
from training.fit.loop import fit_adamw
from training.train import main

FLAGS = [
    "--target",
    "label",
    "--fusion",
    "gmu",
    "--hidden",
    "16",
    "--epochs",
    "20",
    "--patience",
    "20",
]


class KilledError(Exception):
    """Stands for a kill."""


def fit(
    dataset: Dataset, slot: CheckpointSlot | None = None, stop: int = 0, **changes: Any
) -> FitResult:
    """Fit 12 epochs; fail at the end of epoch `stop`, before it is saved."""

    def on_epoch(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == stop:
            raise KilledError

    recipe = replace(RECIPE, epochs=12, patience=12, **changes)
    layers = {"fusion": "gmu", "combination": "mlp", "hidden": 16}
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=dataset.objective.task.outputs,
        **layers,
    )
    return fit_adamw(architecture, dataset, recipe, on_epoch, slot=slot)


def same_weights(one: FitResult, other: FitResult) -> bool:
    weights, other_weights = one.module.state_dict(), other.module.state_dict()
    return all(torch.equal(weights[name], other_weights[name]) for name in weights)


def without_times(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in log]


@pytest.fixture
def save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after each epoch."""
    monkeypatch.setattr("training.fit.checkpoint.SAVE_INTERVAL", 0)


def output_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoint").iterdir())


@pytest.mark.slow
def test_random_kills_do_not_change_the_result(
    xor_store: str, tmp_path: Path, mmfeat_process: Callable[..., Popen[bytes]]
) -> None:
    main([xor_store, str(tmp_path / "whole"), *FLAGS])
    killed, chance = tmp_path / "killed", random.Random(5)
    saved, kills = [], 0
    for _ in range(3):
        process = mmfeat_process("train", xor_store, killed, *FLAGS)
        before = len(saved)
        # Poll rarely: the run needs the cores.
        wait_for(process, lambda n=before: time.sleep(0.03) or len(saved_epochs(killed)) > n)
        time.sleep(chance.uniform(0, 0.3))
        kills += kill(process)
        saved = saved_epochs(killed)
    assert kills, "every run ended before it was killed"
    main([xor_store, str(killed), *FLAGS])
    for name in ("model.safetensors", "config.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [without_times(lines_of(tmp_path / name)) for name in ("killed", "whole")]
    assert logs[0] == logs[1]
    assert not (killed / "checkpoint").exists()


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Return the complete lines of the log."""
    path = folder / "log.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def saved_epochs(folder: Path) -> list[dict[str, Any]]:
    """Return the log entries of all candidates in a checkpoint."""
    states = [json.loads(p.read_text()) for p in (folder / "checkpoint").glob("candidate-*.json")]
    return [entry for state in states for entry in state["facts"]["log"]]


@pytest.mark.usefixtures("save_every_epoch")
@pytest.mark.parametrize(
    ("access", "auxiliary"), [("memory", 0.0), ("blocks", 0.0), ("memory", 1.0)]
)
def test_training_resumes_from_any_epoch(
    xor_store: str, tmp_path: Path, access: str, auxiliary: float
) -> None:
    dataset = load(xor_store, access=access)
    uninterrupted = fit(dataset, auxiliary=auxiliary)
    checkpoint = Checkpoint(str(tmp_path), {})
    for stop in (2, 3, 7, 12):
        with pytest.raises(KilledError):
            fit(dataset, checkpoint.slot(0), stop, auxiliary=auxiliary)
        saved = checkpoint.slot(0).load()
        assert saved is not None
        assert len(saved.facts["log"]) == stop - 1
        assert output_files(tmp_path) == [
            f"candidate-0-{stop - 1}.safetensors",
            "candidate-0.json",
        ]
    resumed = fit(dataset, checkpoint.slot(0), auxiliary=auxiliary)
    assert same_weights(uninterrupted, resumed)
    assert without_times(uninterrupted.log) == without_times(resumed.log)
    assert uninterrupted.epoch == resumed.epoch


@pytest.mark.usefixtures("save_every_epoch")
def test_a_stopped_candidate_is_not_trained_further(xor_store: str, tmp_path: Path) -> None:
    dataset = load(xor_store)
    recipe = replace(RECIPE, epochs=40, patience=3, lr=3e-3)
    slot = Checkpoint(str(tmp_path), {}).slot(0)
    shapes = input_shapes(dataset.features.columns)
    architecture = Architecture(**shapes, outputs=2, fusion="gmu", combination="mlp", hidden=16)
    first = fit_adamw(architecture, dataset, recipe, slot=slot)
    assert stalled_epochs(first.log, recipe.metric, minimized=False) == 3
    assert len(first.log) < 40
    # The checkpoint holds the last epoch: its log is replayed, times included.
    epochs: list[dict[str, Any]] = []
    again = fit_adamw(architecture, dataset, recipe, epochs.append, slot=slot)
    assert epochs == first.log
    assert same_weights(first, again)


@pytest.mark.usefixtures("save_every_epoch")
@pytest.mark.parametrize("damage", ["cut", "gone", "not json"])
def test_a_damaged_checkpoint_is_ignored(xor_store: str, tmp_path: Path, damage: str) -> None:
    dataset = load(xor_store)
    slot = Checkpoint(str(tmp_path), {}).slot(0)
    with pytest.raises(KilledError):
        fit(dataset, slot, 3)
    tensors = tmp_path / "checkpoint" / "candidate-0-2.safetensors"
    match damage:
        case "cut":
            tensors.write_bytes(tensors.read_bytes()[:-10])
        case "gone":
            tensors.unlink()
        case "not json":
            (tmp_path / "checkpoint" / "candidate-0.json").write_text("{")
    assert slot.load() is None
    assert same_weights(fit(dataset), fit(dataset, slot))


@pytest.mark.usefixtures("save_every_epoch")
def test_a_checkpoint_with_another_binding_is_removed(xor_store: str, tmp_path: Path) -> None:
    dataset = load(xor_store)
    first = Checkpoint(str(tmp_path), {"config_hash": "a"})
    with pytest.raises(KilledError):
        fit(dataset, first.slot(0), 3)
    assert first.measure_once("precision", lambda: ["float32", 1.0]) == ["float32", 1.0]
    same = Checkpoint(str(tmp_path), {"config_hash": "a"})
    assert same.slot(0).load() is not None
    assert same.measure_once("precision", lambda: ["bfloat16", 2.0]) == ["float32", 1.0]
    assert Checkpoint(str(tmp_path), {"config_hash": "b"}).slot(0).load() is None
    assert not (tmp_path / "checkpoint").exists()


def test_slow_saves_are_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("training.fit.checkpoint.time.monotonic", lambda: now[0])
    slot = Checkpoint(str(tmp_path), {}).slot(0)
    assert slot.due

    def slow(path: str, value: Any) -> None:
        now[0] += 2

    monkeypatch.setattr("training.fit.checkpoint.files.write_json", slow)
    slot.save({"x": torch.ones(2)}, {})
    assert not slot.due
    now[0] += 79
    assert not slot.due
    now[0] += 2
    assert slot.due


def test_a_finished_run_removes_its_checkpoint(xor_store: str, tmp_path: Path) -> None:
    flags = [*FLAGS[:6], "--epochs", "2"]
    main([xor_store, str(tmp_path / "model"), *flags])
    assert not (tmp_path / "model/checkpoint").exists()
    (tmp_path / "model/checkpoint").mkdir()  # as after a kill that follows the manifest
    main([xor_store, str(tmp_path / "model"), *flags])
    assert not (tmp_path / "model/checkpoint").exists()
    speed = json.loads((tmp_path / "model/metrics.json").read_text())["speed"]
    assert (speed["device"], speed["precision"]) == ("cpu", "float32")


def test_checkpoints_in_an_object_store(xor_store: str) -> None:
    main([xor_store, "memory://resume/model", *FLAGS[:6], "--epochs", "2"])
    from mmfeat.storage import files

    names = files.list_names("memory://resume/model")
    assert "log.jsonl" in names
    assert "checkpoint" not in names


def test_bfloat16_trains_nearly_like_float32(xor_store: str, tmp_path: Path) -> None:
    flags = [*FLAGS[:6], "--epochs", "3", "--lr", "0.003"]
    main([xor_store, str(tmp_path / "half"), *flags, "--precision", "bfloat16"])
    main([xor_store, str(tmp_path / "full"), *flags])
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("half", "full")]
    assert weights[0] != weights[1]
    losses = [lines_of(tmp_path / name)[-1]["val_loss"] for name in ("half", "full")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_an_error(xor_store: str, tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="--device asks for a GPU"):
        main([xor_store, str(tmp_path / "model"), *FLAGS, "--device", "cuda"])
    assert not (tmp_path / "model").exists()
