"""A comparison from the features to the page."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from mmfeat.features.store import FeatureStore
from tests.training.stores import with_gaps, write_store, xor_records
from training.compare.main import main
from training.evaluation.evaluation import measure_split

FLAGS = (
    "--target label --lr 0.003 --hidden 32 --epochs 12 --seeds 2 --fusions gmu,concat,late "
    "--combinations linear --emap-rows 60"
).split()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison on the exclusive or of two modalities."""
    home = tmp_path_factory.mktemp("compare")
    write_store(str(home / "features"), xor_records(2500))
    main([str(home / "features"), str(home / "out"), *FLAGS])
    return home


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in pq.read_table(out / "leaderboard.parquet").to_pylist()}


def test_every_system_has_its_row(compared: Path) -> None:
    rows = rows_of(compared / "out")
    alone = {f"{name}{kind}" for name in ("image", "text") for kind in ("", " logistic", " ridge")}
    assert set(rows) == alone | {"logistic", "ridge", "gmu", "concat", "late"}
    assert rows["gmu"]["seeds"] == 2
    assert rows["ridge"]["seeds"] == 1


def test_only_what_interacts_learns_an_exclusive_or_and_emap_says_so(compared: Path) -> None:
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


def test_the_winner_is_a_model_like_any_other(compared: Path) -> None:
    winner = compared / "out" / "winner"
    model = mmfeat.load_model(str(winner))
    store = FeatureStore(str(compared / "features"))
    measured = measure_split(model, store, "test")
    assert measured["accuracy"] == pytest.approx(rows_of(compared / "out")["gmu"]["mean"], abs=0.03)
    assert json.loads((winner / "metrics.json").read_text())["test"]["rows"] == measured["rows"]
    assert (winner / "report.html").exists()
    assert (compared / "out" / "report.html").exists()


def test_a_finished_comparison_is_left_alone_and_another_refused(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(compared / "features"), str(compared / "out"), *FLAGS]
    main(arguments)
    assert "holds this comparison already" in capsys.readouterr().out
    with pytest.raises(MmfeatError, match="seeds"):
        main([*arguments, "--seeds", "3"])


def test_a_killed_comparison_goes_on_with_the_cells_it_has(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mmfeat", "compare", str(compared / "features"), str(out)]
    running = subprocess.Popen([*command, *FLAGS], stderr=subprocess.DEVNULL)
    cells: list[Path] = []
    while running.poll() is None and len(cells) < 3:
        time.sleep(0.05)
        cells = sorted(out.glob("cells/*/*/cell.json"))
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert cells, "no cell was made"
    before = {path: path.stat().st_mtime_ns for path in cells}
    subprocess.run([*command, *FLAGS], check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in cells} == before
    for name in ("gmu", "late"):
        weights = [
            base / "cells" / name / "1/model.safetensors" for base in (out, compared / "out")
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    ours, theirs = rows_of(out), rows_of(compared / "out")
    assert {n: r["mean"] for n, r in ours.items()} == {n: r["mean"] for n, r in theirs.items()}


def test_records_without_a_modality_are_judged_by_every_system(tmp_path: Path) -> None:
    write_store(str(tmp_path / "features"), with_gaps(), shards=3)
    main([str(tmp_path / "features"), str(tmp_path / "out"), "--pick", "cheapest-tied", *FLAGS])
    rows = rows_of(tmp_path / "out")
    picked = next(row for row in rows.values() if row["picked"])
    best = max(rows.values(), key=lambda row: row["val_mean"])
    assert picked["flops"] <= best["flops"]
    assert {np.load(path).shape for path in (tmp_path / "out/cells").glob("*/0/test.npy")} == {
        np.load(tmp_path / "out/cells/gmu/0/test.npy").shape
    }
    shutil.rmtree(tmp_path / "out")


def test_one_worker_goes_where_fsspec_goes() -> None:
    write_store("memory://compare/features", with_gaps(300))
    flags = ["--workers", "1", "--fusions", "concat", "--seeds", "1", "--emap-rows", "10"]
    main(["memory://compare/features", "memory://compare/out", *FLAGS, *flags])
    assert mmfeat.load_model("memory://compare/out/winner").target == "label"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--fusions", "gum"], "no fusion of that name; got 'gum'"),
        (["--fusions", "co_attention"], "degenerate"),
        (["--combinations", "deep"], "no combination of that name"),
        (["--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(
    xor_store: str, tmp_path: Path, flags: list[str], says: str
) -> None:
    with pytest.raises(MmfeatError, match=says):
        main([xor_store, str(tmp_path / "out"), "--target", "label", *flags])
    assert not (tmp_path / "out" / "cells").exists()
