"""The command `mmfeat train`."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from mmfeat.models.base import Model
from mmfeat.models.inference import InferenceOutput
from mmfeat.models.saved_model import load_model
from tests.programs import run_python
from tests.training.runs import read_json, read_weights
from training.data.dataset import Dataset
from training.data.split_rule import SplitRule
from training.fit.fit_result import run_rows
from training.recipe import INVERSE_PENALTIES, LEARNING_RATES
from training.train import main

QUICK = [
    "--target",
    "label",
    "--fusion",
    "gmu",
    "--epochs",
    "3",
    "--hidden",
    "16",
    "--lr",
    "0.003",
    "--threads",
    "1",
]


KILLED = """
import os, signal, sys
from mmfeat.cli.main import main
from training.fit.metrics_log import MetricsLog

log_metrics = MetricsLog.log_metrics

def log_and_die(self, choice, metrics):
    log_metrics(self, choice, metrics)
    if metrics["epoch"] == 40:
        os.kill(os.getpid(), signal.SIGKILL)

MetricsLog.log_metrics = log_and_die
main(sys.argv[1:])
"""


def train(features: str, output: Path, *flags: str) -> bytes:
    """Train and return the bytes of the weights."""
    main([features, str(output), *QUICK, *flags])
    return read_weights(output)


def test_files_of_a_model(xor_store: str, tmp_path: Path) -> None:
    train(xor_store, tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == [
        "config.json", "log.jsonl", "manifest.json", "metrics.json", "model.safetensors",
        "predictions.parquet", "report.html", "statistics.safetensors",
    ]  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "model/log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3]
    assert {"lr", "loss", "val_accuracy", "val_loss", "seconds"} <= set(log[0])


def test_the_weights_depend_on_the_seed(xor_store: str, tmp_path: Path) -> None:
    first, again, other = (
        train(xor_store, tmp_path / name, "--seed", seed)
        for name, seed in (("first", "0"), ("again", "0"), ("other", "1"))
    )
    assert first == again
    assert first != other


def test_a_finished_model_is_not_trained_again(
    xor_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(xor_store, tmp_path / "model")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()}
    capsys.readouterr()
    train(xor_store, tmp_path / "model")
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()}


def test_another_configuration_names_the_difference(xor_store: str, tmp_path: Path) -> None:
    train(xor_store, tmp_path / "model")
    with pytest.raises(MmfeatError) as caught:
        train(xor_store, tmp_path / "model", "--fusion", "sum")
    assert ": --fusion was 'gmu', is 'sum' now. Run it" in str(caught.value)


def test_a_killed_run_resumes_to_the_same_weights(xor_store: str, tmp_path: Path) -> None:
    long = ["--epochs", "80", "--patience", "80"]
    killed = tmp_path / "killed"
    arguments = ["train", xor_store, str(killed), *QUICK, *long]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments]).returncode == -signal.SIGKILL
    assert not (killed / "manifest.json").exists()
    with pytest.raises(MmfeatError, match="not finished"):
        load_model(str(killed))
    assert train(xor_store, killed, *long) == train(xor_store, tmp_path / "whole", *long)


def test_every_record_is_in_a_split_or_excluded_for_a_reason(
    gap_store: str, tmp_path: Path
) -> None:
    train(gap_store, tmp_path / "model")
    metrics = read_json(tmp_path / "model/metrics.json")
    assert set(metrics["left_out"]) == {"no target", "no modality", "no split"}
    assert metrics["left_out"]["no target"] == 30
    total = sum(metrics["rows"].values()) + sum(metrics["left_out"].values())
    assert total == FeatureStore(gap_store).records
    assert metrics["test"]["unseen_labels"] == {"violet": 4}
    assert read_json(tmp_path / "model/config.json")["config"]["modality_dropout"] == 0.3


def test_the_temperature_is_saved_in_the_weights(
    gap_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(gap_store, tmp_path / "model")
    temperature = read_json(tmp_path / "model/metrics.json")["temperature"]
    assert load_model(str(tmp_path / "model")).temperature == temperature["value"] != 1
    assert temperature["nll_after"] <= temperature["nll_before"]
    assert "calibration of validation rows" in capsys.readouterr().out


def test_validation_and_test_are_run_once_after_training(
    gap_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def count_rows(module: Model, dataset: Dataset, rows: np.ndarray) -> InferenceOutput:
        calls.append(len(rows))
        return run_rows(module, dataset, rows)

    monkeypatch.setattr("training.fit.saving.save_model.run_rows", count_rows)
    train(gap_store, tmp_path / "model")
    rows = read_json(tmp_path / "model/metrics.json")["rows"]
    assert calls == [rows["val"], rows["test"]]


def test_validation_chooses_the_learning_rate(gap_store: str, tmp_path: Path) -> None:
    main(
        [
            gap_store,
            str(tmp_path / "model"),
            "--target",
            "label",
            "--fusion",
            "gmu",
            "--epochs",
            "2",
        ]
    )
    metrics = read_json(tmp_path / "model/metrics.json")
    tried = {entry["lr"]: entry["accuracy"] for entry in metrics["candidates"]}
    assert list(tried) == list(LEARNING_RATES)
    assert tried[metrics["lr"]] == max(tried.values()) == metrics["validation"]["accuracy"]


def test_auxiliary_losses_change_the_weights_but_not_their_names(
    gap_store: str, tmp_path: Path
) -> None:
    without = train(gap_store, tmp_path / "without")
    assert train(gap_store, tmp_path / "with", "--auxiliary", "1") != without
    for name, weight in (("without", 0.0), ("with", 1.0)):
        assert read_json(tmp_path / name / "config.json")["config"]["auxiliary"] == weight
    states = [load_model(str(tmp_path / name)).module.state_dict() for name in ("with", "without")]
    assert states[0].keys() == states[1].keys()


def test_a_model_without_a_fusion_ignores_auxiliary(gap_store: str, tmp_path: Path) -> None:
    late = ("--fusion", "late")
    assert train(gap_store, tmp_path / "0", *late) == train(
        gap_store, tmp_path / "1", *late, "--auxiliary", "1"
    )


def test_a_negative_auxiliary_is_refused(gap_store: str, tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="auxiliary must not be negative"):
        main([gap_store, str(tmp_path / "model"), "--target", "label", "--auxiliary", "-1"])


def test_a_logistic_regression_has_no_seed(
    gap_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (
        train(
            gap_store,
            tmp_path / seed,
            "--modalities",
            "text",
            "--fusion",
            "logistic",
            "--seed",
            seed,
        )
        for seed in ("0", "1")
    )
    assert first == second
    assert re.search(r"standardised +│ (True|False) ", capsys.readouterr().out)
    metrics = read_json(tmp_path / "0/metrics.json")
    tried = [(entry["standardised"], entry["inverse_penalty"]) for entry in metrics["candidates"]]
    assert tried == [(scaled, c) for scaled in (False, True) for c in INVERSE_PENALTIES]
    assert (metrics["standardised"], metrics["inverse_penalty"]) in tried
    assert load_model(str(tmp_path / "0")).config["fusion"] == "logistic"


def test_one_modality_with_a_fusion_is_a_single_model(xor_store: str, tmp_path: Path) -> None:
    by_gmu = train(xor_store, tmp_path / "gmu", "--modalities", "text", "--fusion", "gmu")
    by_sum = train(xor_store, tmp_path / "sum", "--modalities", " text ", "--fusion", "sum")
    assert by_gmu == by_sum
    model = load_model(str(tmp_path / "gmu"))
    assert model.column_names == ["text"]
    assert model.config["fusion"] == "single"


def test_without_a_split_column_the_key_is_hashed(
    make_store: Callable[..., str], tmp_path: Path
) -> None:
    labels = [number % 2 for number in range(400)]
    features = make_store(features={"x": np.eye(400)[:, :8] + 1}, metadata={"label": labels})
    train(features, tmp_path / "model")
    rows = read_json(tmp_path / "model/metrics.json")["rows"]
    assert sum(rows.values()) == 400
    assert rows["train"] > 280
    assert min(rows.values()) > 20


def test_missing_validation_rows_are_carved_from_train(
    make_store: Callable[..., str], tmp_path: Path
) -> None:
    metadata = {"label": [0, 1] * 200, "fold": ["train"] * 300 + ["test"] * 100}
    features = make_store(features={"x": np.eye(400)[:, :8] + 1}, metadata=metadata)
    train(features, tmp_path / "model", "--split-column", "fold")
    rows = read_json(tmp_path / "model/metrics.json")["rows"]
    assert rows["test"] == 100
    assert rows["train"] + rows["val"] == 300
    assert 15 < rows["val"] < 45
    assert SplitRule(**load_model(str(tmp_path / "model")).split) == SplitRule("fold", carve=True)


def test_a_model_in_an_object_store(xor_store: str) -> None:
    main([xor_store, "memory://models/xor", *QUICK])
    assert load_model("memory://models/xor").task.classes == ["other", "same"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "lable"], "Did you mean 'label'?"),
        (["--modalities", "image,sound"], "got 'sound'. There are: image, text"),
        (["--modalities", "imgae"], "got 'imgae'. Did you mean 'image'? There are: image"),
        (["--fusion", "gum"], "fusion must be one of: align, "),
        (["--fusion", "single"], "'single' takes at most 1 of the modalities"),
        (["--combination", "deep"], "combination must be one of: add, "),
        (["--split-column", "fold"], "no column 'fold' (--split-column); it has: label, split"),
        (["--split-column", "label"], "there must be rows to train on"),
        (["--lr", "-1"], "--lr must be above 0; got -1.0"),
        (["--inverse-penalty", "0"], "--inverse-penalty must be above 0; got 0.0"),
        (["--batch-size", "0"], "--batch-size must be at least 1; got 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_output(
    xor_store: str, tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(MmfeatError) as caught:
        train(xor_store, tmp_path / "model", *flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_infinite_features_are_refused(make_store: Callable[..., str], tmp_path: Path) -> None:
    x = np.ones((100, 4))
    x[80, 1] = np.inf
    features = make_store(features={"x": x}, metadata={"label": [0, 1] * 50})
    with pytest.raises(MmfeatError, match="finite number: column 'x', shard 00001"):
        train(features, tmp_path / "model")


def test_an_unfinished_store_is_refused(xor_store: str, tmp_path: Path) -> None:
    copy = shutil.copytree(xor_store, tmp_path / "copy")
    (copy / "manifest.json").unlink()
    with pytest.raises(MmfeatError, match=r"has no features: no manifest\.json"):
        train(str(copy), tmp_path / "model")


def test_help_names_every_fusion_and_loads_no_torch() -> None:
    from mmfeat.models.architecture import LOGISTIC
    from mmfeat.models.combination import COMBINATIONS
    from mmfeat.models.fusion import FUSIONS

    code = (
        "import sys, training.train as t\n"
        "try: t.main(['--help'])\n"
        "finally: assert not {'torch', 'sklearn'} & set(sys.modules)\n"
    )
    text = run_python(code)
    for name in (*FUSIONS, LOGISTIC, *COMBINATIONS):
        assert name in text
