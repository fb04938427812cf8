"""A whole comparison, from the features to the report."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.api import Comparison
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features.store import FeatureStore
from tests.training.runs import compare_flags
from tests.training.stores import (
    Records,
    gap_records,
    load,
    make_splits,
    write_store,
    xor_records,
)
from training.compare import schedule
from training.compare.compare_command import main
from training.compare.config import CompareConfig
from training.compare.leaderboard import LeaderboardRow, show_leaderboard
from training.compare.train_trials import TimeLimitError, train_trial
from training.evaluation.evaluate_model import evaluate_split
from training.report import write_compare_report

FLAGS = compare_flags("gmu,concat,late", hidden=32, epochs=12, seeds=2, emap_rows=60)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison on the XOR of two modalities."""
    home = tmp_path_factory.mktemp("compare")
    write_store(str(home / "features"), xor_records(2500))
    main([str(home / "features"), str(home / "out"), *FLAGS])
    return home


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in pq.read_table(out / "leaderboard.parquet").to_pylist()}


def test_each_model_has_a_row(compared: Path) -> None:
    rows = rows_of(compared / "out")
    single = {f"{name}{kind}" for name in ("image", "text") for kind in ("", " logistic", " ridge")}
    assert set(rows) == single | {"logistic", "ridge", "gmu", "concat", "late"}
    assert rows["gmu"]["seeds"] == 2
    assert rows["gmu"]["sd"] >= 0
    assert rows["ridge"]["seeds"] == 1
    assert rows["ridge"]["sd"] is None


def test_only_interaction_learns_xor_and_emap_shows_it(compared: Path) -> None:
    rows = rows_of(compared / "out")
    gmu = rows["gmu"]
    assert gmu["mean"] > 0.95
    assert all(gmu[name] for name in ("picked", "pareto", "tied", "uses_interaction"))
    assert gmu["emap"] < 0.85 < gmu["emap_full"]
    for name in ("concat", "late", "image", "ridge"):
        assert rows[name]["mean"] < 0.8
        assert not rows[name]["tied"]
        assert not rows[name]["uses_interaction"]
    assert rows["ridge"]["emap"] is rows["text"]["uses_interaction"] is None
    assert gmu["low"] <= gmu["mean"] <= gmu["high"]
    assert gmu["flops"] > rows["image ridge"]["flops"] > 0


def test_winner_loads_like_any_model(compared: Path) -> None:
    winner = compared / "out" / "winner"
    model = mmfeat.load_model(str(winner))
    store = FeatureStore(str(compared / "features"))
    measured = evaluate_split(model, store, "test")
    assert measured["accuracy"] == pytest.approx(rows_of(compared / "out")["gmu"]["mean"], abs=0.03)
    assert json.loads((winner / "metrics.json").read_text())["test"]["rows"] == measured["rows"]
    assert (winner / "report.html").exists()
    assert (compared / "out" / "report.html").exists()


def test_finished_comparison_is_kept_and_a_different_one_refused(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(compared / "features"), str(compared / "out"), *FLAGS]
    main(arguments)
    printed = capsys.readouterr().out
    assert "already holds this comparison" in printed
    for name in ("leaderboard.parquet", "report.html", "winner"):
        assert f": {compared / 'out' / name}\n" in printed
    with pytest.raises(MmfeatError, match="seeds"):
        main([*arguments, "--seeds", "3"])


def test_a_trial_with_damaged_weights_is_trained_again(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared / "out", out)
    assert mmfeat.verify(out).all_damages == []
    weights = out / "cells" / "gmu" / "1" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    kept = out / "cells" / "gmu" / "0" / "cell.json"
    written = kept.stat().st_mtime_ns
    assert [damage.path for damage in mmfeat.verify(out, fix=True).damages] == [str(weights)]
    main([str(compared / "features"), str(out), *FLAGS])
    assert weights.read_bytes() == whole
    assert kept.stat().st_mtime_ns == written
    assert mmfeat.verify(out).all_damages == []


def test_a_missing_model_folder_is_found_and_trained_again(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared / "out", out)
    shutil.rmtree(out / "cells" / "concat")
    names = ("0/cell.json", "1/cell.json", "interaction.json")
    missing = {str(out / "cells" / "concat" / name) for name in names}
    assert {damage.path for damage in mmfeat.verify(out, fix=True).damages} == missing
    main([str(compared / "features"), str(out), *FLAGS])
    assert mmfeat.verify(out).all_damages == []
    weights = [base / "cells/concat/1/model.safetensors" for base in (out, compared / "out")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_changed_leaderboard_is_refused(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared / "out", out)
    comparison = mmfeat.open(out)
    assert isinstance(comparison, Comparison)
    names = comparison.to_arrow()["name"].to_pylist()
    assert comparison.to_pandas()["name"].tolist() == names
    path = out / "leaderboard.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)  # a valid table, but another one
    for read in (
        lambda: Comparison(out).leaderboard,
        lambda: write_compare_report(str(out)),
    ):
        with pytest.raises(DamagedFileError, match=r"leaderboard\.parquet"):
            read()


def test_a_time_limit_leaves_trials_out_that_a_later_run_trains(
    compared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The clock of the limit stands still, and 13 trials are within it."""
    arguments = [str(compared / "features"), str(tmp_path / "out"), *FLAGS]
    done: list[tuple[str, int]] = []

    def train_13_trials(config: Any, spec: Any, seed: int, deadline: float | None) -> Any:
        if len(done) == 13:
            raise TimeLimitError("the limit")
        done.append((spec.name, seed))
        return train_trial(config, spec, seed, deadline)

    monkeypatch.setattr(schedule, "train_trial", train_13_trials)
    limit = ["--workers", "1", "--time-limit"]
    main([*arguments, *limit, "1000"])
    monkeypatch.undo()
    output = capsys.readouterr()
    assert [seed for _, seed in done[:11]] == [0] * 11
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["time_limit"] == 1000
    names = ["text", "gmu", "concat", "late"]
    left_out = [name for name in names if (name, 1) not in done]
    assert manifest["missing"] == {name: [1] for name in left_out}
    assert f"The time limit left out {left_out[0]} (seeds 1)" in output.out
    assert f", after 13 of {13 + len(left_out)} trials)" in " ".join(output.out.split())
    assert "compare: gmu, seed 0: validation " in output.err
    rows = rows_of(tmp_path / "out")
    assert rows.keys() == rows_of(compared / "out").keys()
    assert {name: rows[name]["seeds"] for name in left_out} == dict.fromkeys(left_out, 1)
    assert mmfeat.verify(tmp_path / "out").all_damages == []
    main(arguments)
    assert "missing" not in json.loads((tmp_path / "out/manifest.json").read_text())
    whole = rows_of(compared / "out")
    assert {n: row["mean"] for n, row in rows_of(tmp_path / "out").items()} == {
        name: row["mean"] for name, row in whole.items()
    }


def test_the_picked_line_says_if_only_models_of_one_column_were_trained(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [LeaderboardRow(**row) for row in rows_of(compared / "out").values()]
    rows = [replace(row, picked=False) for row in found if "," not in row.modalities]
    rows[0] = replace(rows[0], picked=True)
    features = str(compared / "features")
    config = CompareConfig(features, str(compared / "none"), target="label")
    show_leaderboard(rows, "accuracy", load(features), config, missing=5)
    trained = sum(row.seeds for row in rows)
    expected = f", after {trained} of {trained + 5} trials, none of them of several columns)"
    assert expected in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_time_limit_without_a_finished_trial_is_an_error(
    compared: Path, tmp_path: Path, workers: str
) -> None:
    arguments = [str(compared / "features"), str(tmp_path / "out"), *FLAGS, "--workers", workers]
    with pytest.raises(MmfeatError, match="no trial was finished within --time-limit"):
        main([*arguments, "--time-limit", "1e-9"])


def test_ctrl_c_ends_a_comparison_within_a_trial(compared: Path, tmp_path: Path) -> None:
    """The networks would train for days."""
    flags = [*FLAGS, "--workers", "2", "--epochs", "10000000", "--patience", "10000000"]
    command = [sys.executable, "-m", "mmfeat", "compare", str(compared / "features")]
    running = subprocess.Popen(
        [*command, str(tmp_path / "out"), *flags], stderr=subprocess.PIPE, text=True
    )
    while len(list((tmp_path / "out").glob("cells/*/*/cell.json"))) < 4:  # of linear models
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    errors = running.communicate(timeout=300)[1]
    assert running.returncode == 130
    assert errors.endswith("mmfeat: interrupted. Run the same command again to continue\n")
    assert "Traceback" not in errors


def test_killed_comparison_keeps_finished_trials(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mmfeat", "compare", str(compared / "features"), str(out)]
    running = subprocess.Popen([*command, *FLAGS], stderr=subprocess.DEVNULL)
    trials: list[Path] = []
    while running.poll() is None and len(trials) < 3:
        time.sleep(0.05)
        trials = sorted(out.glob("cells/*/*/cell.json"))
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert trials, "no trial was finished"
    before = {path: path.stat().st_mtime_ns for path in trials}
    subprocess.run([*command, *FLAGS], check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in trials} == before
    for name in ("gmu", "late"):
        weights = [
            base / "cells" / name / "1/model.safetensors" for base in (out, compared / "out")
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    resumed, unbroken = (
        {name: row["mean"] for name, row in rows_of(folder).items()}
        for folder in (out, compared / "out")
    )
    assert resumed == unbroken


def test_records_with_gaps_are_scored_by_every_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(str(tmp_path / "features"), gap_records(), shards=3)
    main([str(tmp_path / "features"), str(tmp_path / "out"), "--pick", "cheapest-tied", *FLAGS])
    rows = rows_of(tmp_path / "out")
    tied = [row for row in rows.values() if row["tied"]]
    assert len(tied) > 1
    cheapest = min(tied, key=lambda row: row["flops"])["name"]
    out = capsys.readouterr().out
    assert f"{len(tied)} models are tied for the best on the test rows; the cheapest of" in out
    assert f"them is {cheapest} (" in out
    assert out.count(" best mean ") == 1
    picked = next(row for row in rows.values() if row["picked"])
    best = max(rows.values(), key=lambda row: row["val_mean"])
    assert picked["flops"] <= best["flops"]
    assert {np.load(path).shape for path in (tmp_path / "out/cells").glob("*/0/test.npy")} == {
        np.load(tmp_path / "out/cells/gmu/0/test.npy").shape
    }
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_winner_of_one_column_leaves_rows_without_it_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    """The text misleads outside training, and some validation and test rows have no image."""
    count = 300
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, count)
    splits = make_splits(count)
    signs = labels * 2 - 1
    flip = np.where(np.array(splits) == "train", 1, -1)
    image, text = (s[:, None] + rng.normal(0, 0.5, (count, 4)) for s in (signs, signs * flip))
    present = np.arange(count) % 10 != 3  # a validation row in ten
    present[4::20] = False  # a test row in twenty
    target: list[Any] = (
        labels.astype(float).tolist() if task == "regression" else [f"label {n}" for n in labels]
    )
    records = Records(
        features={"image": image, "text": text},
        metadata={"label": target, "split": splits},
        present={"image": present},
    )
    features, out = write_store(str(tmp_path / "features"), records), tmp_path / "out"
    flags = (
        "--target label --seeds 1 --epochs 3 --lr 0.003 --hidden 8 --fusions concat --emap-rows 8"
    )
    main([features, str(out), *flags.split(), "--task", task, "--workers", "1"])
    assert "15 of 60 test rows lack image" in capsys.readouterr().out
    picked = next(row for row in rows_of(out).values() if row["picked"])
    assert picked["modalities"] == "image"
    metrics = json.loads((out / "winner/metrics.json").read_text())
    assert metrics["left_out"] == {"no modality": 45}
    assert metrics["rows"] == {"train": 180, "val": 30, "test": 45}
    measured = evaluate_split(
        mmfeat.load_model(str(out / "winner")), FeatureStore(features), "test"
    )
    assert measured["left_out"]["no modality"] == 45
    names = {"multiclass": ["auroc", "nll"], "regression": ["mae"]}[task]
    for name in names:
        assert metrics["test"][name] == measured[name]
        assert np.isfinite(measured[name])
    predictions = pq.read_table(out / "winner/predictions.parquet")
    assert predictions["present_image"].to_pylist() == [True] * 75
    assert predictions["prediction"].null_count == 0


def test_column_without_validation_rows_has_no_model_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = xor_records(300)
    records.present["image"] = np.array([split != "val" for split in make_splits(300)])
    features, out = write_store(str(tmp_path / "features"), records), tmp_path / "out"
    flags = "--target label --seeds 1 --epochs 1 --lr 0.003 --hidden 8 --fusions gmu --emap-rows 8"
    main([features, str(out), *flags.split(), "--workers", "1"])
    assert "left out image logistic: no val row has image" in capsys.readouterr().err
    assert set(rows_of(out)) == {"text", "text logistic", "text ridge", "logistic", "ridge", "gmu"}


def test_paths_may_be_fsspec_urls() -> None:
    write_store("memory://compare/features", gap_records(300))
    flags = ["--workers", "1", "--fusions", "concat", "--seeds", "1", "--emap-rows", "10"]
    main(["memory://compare/features", "memory://compare/out", *FLAGS, *flags])
    assert mmfeat.load_model("memory://compare/out/winner").target == "label"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fusions", "gum"], "fusion must be one of: .*; got 'gum'"),
        (["--fusions", "co_attention"], "degenerate"),
        (["--combinations", "deep"], "combination must be one of: .*; got 'deep'"),
        (["--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_wrong_flags_fail_before_training(
    xor_store: str, tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(MmfeatError, match=message):
        main([xor_store, str(tmp_path / "out"), "--target", "label", *flags])
    assert not (tmp_path / "out" / "cells").exists()
