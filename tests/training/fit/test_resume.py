"""A killed training run goes on, and ends with the weights of one that was never killed."""

import importlib.util
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
from mmfeat.models.checkpoint import input_shapes
from tests.faults import kill, wait_for
from tests.training.fit.test_loop import RECIPE
from tests.training.stores import load
from training.data.dataset import Dataset
from training.fit import log
from training.fit.checkpoint import Checkpoint, Slot
from training.fit.fit_result import Fitted
from training.fit.loop import fit
from training.train import main

FLAGS = ["--target", "label", "--hidden", "16", "--epochs", "20", "--patience", "20"]


class KilledError(Exception):
    """In the place of a kill."""


def fitted(dataset: Dataset, slot: Slot | None = None, stop: int = 0, **changes: Any) -> Fitted:
    """Fit 12 epochs; stop at the end of one, before it is saved."""

    def on_epoch(epoch: int) -> None:
        if epoch == stop:
            raise KilledError

    recipe = replace(RECIPE, epochs=12, patience=12, **changes)
    layers = {"fusion": "gmu", "combination": "mlp", "hidden": 16}
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=dataset.objective.task.outputs,
        **layers,
    )
    return fit(architecture, dataset, recipe, on_epoch, slot=slot)


def same_weights(one: Fitted, other: Fitted) -> bool:
    mine, theirs = one.module.state_dict(), other.module.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def without_times(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in log]


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after each epoch, however short."""
    monkeypatch.setattr("training.fit.checkpoint._SHARE", 0)


def output_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoint").iterdir())


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    xor_store: str, tmp_path: Path, mmfeat_process: Callable[..., Popen[bytes]]
) -> None:
    main([xor_store, str(tmp_path / "whole"), *FLAGS])
    killed, chance = tmp_path / "killed", random.Random(5)
    kept, kills = [], 0
    for _ in range(3):
        process = mmfeat_process("train", xor_store, killed, *FLAGS)
        behind = len(kept)
        # Looked at now and then, so that the run has the cores.
        wait_for(process, lambda n=behind: time.sleep(0.03) or len(saved_epochs(killed)) > n)
        time.sleep(chance.uniform(0, 0.3))
        kills += kill(process)
        kept = saved_epochs(killed)
    assert kills, "it ended each time before it was killed"
    main([xor_store, str(killed), *FLAGS])
    for name in ("model.safetensors", "config.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [without_times(lines_of(tmp_path / name)) for name in ("killed", "whole")]
    assert logs[0] == logs[1]
    assert not (killed / "checkpoint").exists()


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log that are written in full."""
    path = folder / "log.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def saved_epochs(folder: Path) -> list[dict[str, Any]]:
    """The log entries of all candidates in a checkpoint."""
    states = [json.loads(p.read_text()) for p in (folder / "checkpoint").glob("candidate-*.json")]
    return [entry for state in states for entry in state["facts"]["log"]]


@pytest.mark.usefixtures("always_due")
@pytest.mark.parametrize(
    ("access", "auxiliary"), [("memory", 0.0), ("blocks", 0.0), ("memory", 1.0)]
)
def test_every_epoch_is_one_to_go_on_from(
    xor_store: str, tmp_path: Path, access: str, auxiliary: float
) -> None:
    dataset = load(xor_store, access=access)
    whole = fitted(dataset, auxiliary=auxiliary)
    checkpoint = Checkpoint(str(tmp_path), {})
    for stop in (2, 3, 7, 12):
        with pytest.raises(KilledError):
            fitted(dataset, checkpoint.slot(0), stop, auxiliary=auxiliary)
        saved = checkpoint.slot(0).load()
        assert saved is not None
        assert len(saved.facts["log"]) == stop - 1
        assert output_files(tmp_path) == [
            f"candidate-0-{stop - 1}.safetensors",
            "candidate-0.json",
        ]
    again = fitted(dataset, checkpoint.slot(0), auxiliary=auxiliary)
    assert same_weights(whole, again)
    assert without_times(whole.log) == without_times(again.log)
    assert whole.epoch == again.epoch


@pytest.mark.usefixtures("always_due")
def test_early_stopping_goes_on_counting(xor_store: str, tmp_path: Path) -> None:
    dataset = load(xor_store)
    whole = fitted(dataset, lr=0.1)
    patience = replace(RECIPE, epochs=40, patience=3, lr=3e-3)
    assert whole.epoch <= 12
    checkpoint = Checkpoint(str(tmp_path), {})
    shapes = input_shapes(dataset.features.columns)
    architecture = Architecture(**shapes, outputs=2, fusion="gmu", combination="mlp", hidden=16)
    first = fit(architecture, dataset, patience, slot=checkpoint.slot(0))
    # The last epoch was saved too: fitted again, not one more is trained.
    told: list[int] = []
    again = fit(architecture, dataset, patience, told.append, slot=checkpoint.slot(0))
    assert told == []
    assert same_weights(first, again)


@pytest.mark.usefixtures("always_due")
@pytest.mark.parametrize("damage", ["cut", "gone", "not json"])
def test_a_damaged_checkpoint_counts_as_none(xor_store: str, tmp_path: Path, damage: str) -> None:
    dataset = load(xor_store)
    slot = Checkpoint(str(tmp_path), {}).slot(0)
    with pytest.raises(KilledError):
        fitted(dataset, slot, 3)
    tensors = tmp_path / "checkpoint" / "candidate-0-2.safetensors"
    match damage:
        case "cut":
            tensors.write_bytes(tensors.read_bytes()[:-10])
        case "gone":
            tensors.unlink()
        case "not json":
            (tmp_path / "checkpoint" / "candidate-0.json").write_text("{")
    assert slot.load() is None
    assert same_weights(fitted(dataset), fitted(dataset, slot))


@pytest.mark.usefixtures("always_due")
def test_another_binding_never_goes_on_from_it(xor_store: str, tmp_path: Path) -> None:
    dataset = load(xor_store)
    mine = Checkpoint(str(tmp_path), {"config_hash": "a"})
    with pytest.raises(KilledError):
        fitted(dataset, mine.slot(0), 3)
    assert mine.settle("precision", lambda: ["float32", 1.0]) == ["float32", 1.0]
    same = Checkpoint(str(tmp_path), {"config_hash": "a"})
    assert same.slot(0).load() is not None
    assert same.settle("precision", lambda: ["bfloat16", 2.0]) == ["float32", 1.0]
    assert Checkpoint(str(tmp_path), {"config_hash": "b"}).slot(0).load() is None
    assert not (tmp_path / "checkpoint").exists()


def test_saving_waits_until_it_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_finished_model_keeps_no_checkpoint(xor_store: str, tmp_path: Path) -> None:
    flags = [*FLAGS[:4], "--epochs", "2"]
    main([xor_store, str(tmp_path / "model"), *flags])
    assert not (tmp_path / "model/checkpoint").exists()
    (tmp_path / "model/checkpoint").mkdir()  # as after a kill behind the manifest
    main([xor_store, str(tmp_path / "model"), *flags])
    assert not (tmp_path / "model/checkpoint").exists()
    speed = json.loads((tmp_path / "model/metrics.json").read_text())["speed"]
    assert (speed["device"], speed["precision"]) == ("cpu", "float32")


def test_models_and_their_checkpoints_go_where_fsspec_goes(xor_store: str) -> None:
    main([xor_store, "memory://resume/model", *FLAGS[:4], "--epochs", "2"])
    from mmfeat.store import files

    names = files.names_in("memory://resume/model")
    assert "log.jsonl" in names
    assert "checkpoint" not in names


def test_tensorboard_is_asked_for_by_name(
    xor_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MmfeatError, match=r"pip install 'mmfeat\[tensorboard\]'"):
        main([xor_store, str(tmp_path / "model"), *FLAGS, "--tensorboard"])
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_gets_the_numbers_of_each_epoch(xor_store: str, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = [*FLAGS[:4], "--epochs", "3", "--lr", "0.001", "--tensorboard"]
    main([xor_store, str(tmp_path / "model"), *flags])
    events = EventAccumulator(str(tmp_path / "model/tensorboard/lr=0.001"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("val_loss")]
    log = lines_of(tmp_path / "model")
    assert found == [(e["epoch"], pytest.approx(e["val_loss"])) for e in log]


def test_bfloat16_trains_and_is_told_apart_by_its_checkpoint(
    xor_store: str, tmp_path: Path
) -> None:
    flags = [*FLAGS[:4], "--epochs", "3", "--lr", "0.003"]
    main([xor_store, str(tmp_path / "half"), *flags, "--precision", "bfloat16"])
    main([xor_store, str(tmp_path / "full"), *flags])
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("half", "full")]
    assert weights[0] != weights[1]
    losses = [lines_of(tmp_path / name)[-1]["val_loss"] for name in ("half", "full")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(xor_store: str, tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="--device asks for a GPU"):
        main([xor_store, str(tmp_path / "model"), *FLAGS, "--device", "cuda"])
    assert not (tmp_path / "model").exists()
