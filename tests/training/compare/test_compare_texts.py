"""`mmfeat compare` over fusions with the task describe."""

import json

import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from tests.training.scenes import scene_records
from tests.training.stores import write_store

OPTIONS = {
    "target": "caption",
    "task": "describe",
    "seeds": 2,
    "epochs": 6,
    "hidden": 32,
    "decoder_layers": 1,
    "decoder_width": 32,
    "lr": 0.003,
    "workers": 1,
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(str(tmp_path_factory.mktemp("scenes") / "features"), scene_records(200))


def test_fusions_are_ranked_by_the_loss(scenes, tmp_path):
    output = tmp_path / "comparison"
    mmfeat.compare(scenes, output, fusions="gmu,concat", **OPTIONS)
    rows = pq.read_table(output / "leaderboard.parquet").to_pylist()
    assert {row["name"] for row in rows} == {"image", "text", "gmu", "concat"}
    losses = [row["mean"] for row in rows]
    assert losses == sorted(losses)
    assert rows[-1]["name"] in ("image", "text")
    assert all(row["low"] < row["mean"] < row["high"] for row in rows)
    assert all(row["emap"] is row["uses_interaction"] is None for row in rows)
    assert all(row["flops"] > 0 and row["score_rows_per_second"] > 0 for row in rows)
    winner = mmfeat.open(output / "winner")
    assert winner.predict(scene_records(3).features).labels[0]
    metrics = json.loads((output / "winner" / "metrics.json").read_text())
    assert metrics["test"]["baselines"]["rows"] == metrics["test"]["rows"]
    page = (output / "report.html").read_text("utf-8")
    assert "loss" in page
    before = (output / "manifest.json").read_bytes()
    mmfeat.compare(scenes, output, fusions="gmu,concat", **OPTIONS)
    assert (output / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("fusions", ["late", "logistic", "ridge,gmu"])
def test_models_without_a_fusion_are_refused(scenes, tmp_path, fusions):
    with pytest.raises(MmfeatError, match="fusion"):
        mmfeat.compare(scenes, tmp_path / "comparison", fusions=fusions, **OPTIONS)
