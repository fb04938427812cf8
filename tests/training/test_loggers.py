"""--logger: TensorBoard, and W&B and MLflow without a server. Their packages are extras."""

import importlib.util
import json

import pytest

from mmfeat.errors import MmfeatError
from tests.training.stores import write_store, xor_records
from training.fit.metrics_log import MetricsLog
from training.train import main

EPOCHS = 3
FLAGS = ("--target", "label", "--fusion", "gmu", "--epochs", str(EPOCHS), "--lr", "0.001")


@pytest.fixture
def train(tmp_path):
    """Trains a model with a logger; returns its directory and its log."""
    features = write_store(str(tmp_path / "features"), xor_records())

    def run(logger):
        output = tmp_path / "model"
        main([features, str(output), *FLAGS, "--logger", logger])
        lines = (output / "log.jsonl").read_text().splitlines()
        return output, [json.loads(line) for line in lines]

    return run


@pytest.mark.parametrize("logger", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    train, tmp_path, monkeypatch, logger
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MmfeatError, match=rf"-m pip install '?{logger}"):
        train(logger)
    assert not (tmp_path / "model").exists()


def test_tensorboard_has_the_metrics_of_each_epoch(train):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="an extra"
    )
    output, log = train("tensorboard")
    events = accumulator.EventAccumulator(str(output / "tensorboard/lr=0.001"))
    events.Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert scalars == [(e["epoch"], pytest.approx(e["val_loss"])) for e in log]
    assert len(log) == EPOCHS


def test_wandb_writes_to_the_disk_without_an_account(train, monkeypatch):
    pytest.importorskip("wandb", reason="an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    output, log = train("wandb")
    [file] = output.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    assert b"val_loss" in content
    for epoch in log:
        assert f"{epoch['val_loss']}".encode() in content


def test_wandb_without_an_account_is_an_error(train, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="an extra")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(type(wandb.api), "api_key", None)
    with pytest.raises(MmfeatError, match="WANDB_MODE=offline"):
        train("wandb")
    assert not (tmp_path / "model").exists()


def test_mlflow_has_the_metrics_of_each_epoch(train, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    output, log = train("mlflow")
    client = mlflow.MlflowClient(f"file:{output}/mlruns")
    experiment = client.get_experiment_by_name("mmfeat")
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["lr"]) == ("FINISHED", "0.001")
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert {m.step: m.value for m in history} == {e["epoch"]: e["val_loss"] for e in log}


class BrokenLogger:
    def log_metrics(self, metrics, epoch):
        raise ConnectionError("gone")

    def close(self):
        pass


def test_a_logger_that_fails_does_not_end_the_training(tmp_path, monkeypatch, capfd):
    from training.fit import metrics_log

    monkeypatch.setattr(metrics_log, "start_logger", lambda *_: BrokenLogger())
    (tmp_path / "model").mkdir()
    log = MetricsLog(str(tmp_path / "model"), logger="mlflow")
    for epoch in (1, 2):
        log.log_metrics({"lr": 0.1}, {"epoch": epoch, "loss": 0.5})
    log.close()
    assert len((tmp_path / "model/log.jsonl").read_text().splitlines()) == 2
    assert capfd.readouterr().err.count("warning: --logger stopped (ConnectionError: gone)") == 1
