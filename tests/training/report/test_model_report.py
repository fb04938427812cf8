"""The report of a model, read without a browser."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from training.metrics.calibration import ece
from training.report import write_model_report

NO_FEATURES = "the model does not name the directory of its features"


def test_page_shows_the_metrics(make_model, read_page) -> None:
    model = make_model()
    page = read_page(write_model_report(model))
    metrics = json.loads(Path(model, "metrics.json").read_text())
    accuracies = [f"{metrics[split]['accuracy']:.3f}" for split in ("validation", "test")]
    assert page.row("scores", "accuracy") == accuracies
    assert page.row("classes", "owl")[1:] == ["0.500", "0.250", "0.333"]
    assert page.row("subsets", "image+text") == ["40", accuracies[1]]
    assert page.row("scores", "left out: no target") == ["3"]
    assert page.row("calibration", "NLL, validation") == ["0.900", "0.800"]
    matrix = metrics["test"]["confusion_matrix"]
    assert [row[1:] for row in page.tables["confusion"][1:4]] == [
        [str(count) for count in row] for row in matrix
    ]


def test_a_search_shows_its_ensemble_as_a_candidate_and_explains_it(make_model, read_page) -> None:
    model = make_model()
    path = Path(model, "metrics.json")
    row = {"model": "kernel", "accuracy": 0.5, "loss": 1.0, "weight": 0.5}
    search = {
        "chosen": {"accuracy": 0.75, "loss": 0.5},
        "weights": {"kernel": 0.5, "ridge": 0.5},
        "dropped": {"gmu": "no budget left"},
    }
    found = {
        "model": "kernel and ridge",
        "candidates": [row, {**row, "model": "ridge"}],
        "search": search,
        "explanation": ["saved: the ensemble"],
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | found))
    page = read_page(write_model_report(model))
    assert page.row("training", "kernel and ridge")[:2] == ["0.750", "0.500"]
    assert page.source.count('<tr class="chosen">') == 1
    assert "dropped gmu: no budget left" in page.text
    assert "saved: the ensemble" in page.text
    found |= {"model": "ridge", "search": {**search, "weights": {"ridge": 1.0}}}
    found["candidates"] = [{**row, "weight": 0.0}, {**row, "model": "ridge", "weight": 1.0}]
    path.write_text(json.dumps(json.loads(path.read_text()) | found))
    page = read_page(write_model_report(model))
    (chosen,) = re.findall(r'<tr class="chosen"><td class="n">(.*?)</td>', page.source)
    assert chosen == "ridge"


def test_calibration_is_computed_from_the_rows(make_model, read_page) -> None:
    model = make_model(rows=900)
    page = read_page(write_model_report(model))
    table = pq.read_table(Path(model, "predictions.parquet"))
    table = table.filter(pa.compute.field("split") == "test")
    after = np.stack([table[f"p_{name}"].to_numpy() for name in ("cat", "dog", "owl")], axis=1)
    before = after.astype(np.float64) ** 1.5
    before /= before.sum(axis=1, keepdims=True)
    labels = np.array([("cat", "dog", "owl").index(t) for t in table["target"].to_pylist()])
    expected = [f"{ece(p, labels):.3f}" for p in (before, after)]
    assert page.row("calibration", "ECE, test") == expected


def test_top_losses_are_of_the_test_split(make_model, read_page) -> None:
    model = make_model(rows=300)
    page = read_page(write_model_report(model, worst=5))
    rows = pq.read_table(Path(model, "predictions.parquet")).to_pylist()
    rows = sorted((r for r in rows if r["split"] == "test"), key=lambda row: -row["loss"])
    assert shown_keys(page, "top") == [row["__key__"] for row in rows[:5]]
    assert f"loss {rows[0]['loss']:.3f}" in page.text


def shown_keys(page, group: str = "") -> list[str]:
    """Return the keys of the records of a page, in order, of one group or of all."""
    cards = re.findall(r'<article class="card" ([^>]*)>', page.source)
    found = [dict(re.findall(r'data-(\w+)="([^"]*)"', card)) for card in cards]
    return [card["key"] for card in found if group in ("", card["group"])]


def test_every_cell_of_the_confusion_leads_to_its_records(make_model, read_page) -> None:
    model = make_model(rows=300)
    page = read_page(write_model_report(model, worst=2))
    rows = pq.read_table(Path(model, "predictions.parquet")).to_pylist()
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: -row["loss"]):
        if row["split"] == "test":
            cells.setdefault((row["target"], row["prediction"]), []).append(row)
    shown = {*shown_keys(page)}
    for (true, predicted), in_cell in cells.items():
        kept = in_cell[: 1 if true == predicted else 3]
        assert {row["__key__"] for row in kept} <= shown
        assert f'data-show data-label="{true}" data-predicted="{predicted}"' in page.source
    assert len(shown) <= sum(1 if t == p else 3 for t, p in cells) + 2


def test_the_records_of_cells_are_bounded(make_model, read_page) -> None:
    classes = [f"class {number}" for number in range(40)]
    page = read_page(write_model_report(make_model(rows=6000, classes=classes), worst=10))
    assert len(shown_keys(page, "top")) == 10
    assert 50 < len(shown_keys(page, "cell")) <= 72


def test_weights_are_of_rows_with_several_modalities(make_model, read_page) -> None:
    model = make_model(rows=300)
    page = read_page(write_model_report(model))
    rows = [
        row
        for row in pq.read_table(Path(model, "predictions.parquet")).to_pylist()
        if row["split"] == "test" and row["present_image"] and row["present_text"]
    ]
    mean = np.mean([row["w_image"] for row in rows])
    assert page.row("weights", "image") == [str(len(rows)), f"{mean:.3f}"]


@pytest.mark.parametrize("predictions", [True, False])
def test_page_gives_the_reason_for_missing_previews(
    make_model, read_page, predictions: bool
) -> None:
    page = read_page(write_model_report(make_model(predictions=predictions)))
    assert (NO_FEATURES in page.text) == predictions
    assert page.images == []
    assert page.row("classes", "owl")


def test_validation_is_shown_without_a_test_split(make_model, read_page) -> None:
    model = make_model()
    metrics = json.loads(Path(model, "metrics.json").read_text())
    Path(model, "metrics.json").write_text(json.dumps({**metrics, "test": None}))
    rows = pq.read_table(Path(model, "predictions.parquet"))
    pq.write_table(
        rows.filter(pa.compute.field("split") == "val"), Path(model, "predictions.parquet")
    )
    page = read_page(write_model_report(model))
    assert "The 20 rows of the validation split" in " ".join(page.text.split())
    assert page.row("scores", "accuracy")[1] == "–"


def test_regression_has_residuals_and_no_classes(make_files, tmp_path, read_page) -> None:
    rows = 7000
    truth = np.random.default_rng(0).normal(100, 20, rows)
    predicted = truth + 2.5
    scores = {"mae": 2.5, "rmse": 2.5, "r2": 0.98, "rows": rows}
    metrics = {"metric": "mae", "validation": scores, "test": scores, "temperature": None}
    make_files(tmp_path, {"task": "regression", "target": "price", "classes": []}, ["t"], metrics)
    table = {
        "__key__": [f"key-{i}" for i in range(rows)], "shard": ["00000"] * rows,
        "split": ["test"] * rows, "target": truth, "prediction": predicted,
        "w_t": pa.nulls(rows, pa.float32()), "present_t": [True] * rows,
        "loss": np.abs(predicted - truth).astype(np.float32),
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "predictions.parquet")
    path = write_model_report(str(tmp_path))
    page = read_page(path)
    assert "Mean of predicted − true: 2.500." in " ".join(page.text.split())
    assert page.row("scores", "R²") == ["0.980", "0.980"]
    assert not {"confusion", "classes", "calibration", "weights"} & page.tables.keys()
    assert "off by 2.500" in page.text
    assert Path(path).stat().st_size < 500_000


def test_multilabel_rows_show_each_label(make_files, tmp_path, read_page) -> None:
    scores = {"macro_f1": 0.5, "rows": 2}
    metrics = {"metric": "macro_f1", "validation": scores, "test": scores,
               "temperature": {"value": 2.0, "nll_before": 0.5, "nll_after": 0.4}}  # fmt: skip
    config = {"task": "multilabel", "target": "tags", "classes": ["a", "b"]}
    make_files(tmp_path, config, ["image"], metrics)
    labels = pa.list_(pa.string())
    table = {
        "__key__": ["one", "two"], "shard": ["00000"] * 2, "split": ["test"] * 2,
        "target": pa.array([["a", "b"], []], labels), "prediction": pa.array([["a"], []], labels),
        "p_a": pa.array([0.9, 0.2], pa.float32()), "p_b": pa.array([0.4, 0.1], pa.float32()),
        "w_image": pa.nulls(2, pa.float32()), "present_image": [True, True],
        "loss": pa.array([0.5, 0.1], pa.float32()),
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "predictions.parquet")
    page = read_page(write_model_report(str(tmp_path)))
    text = " ".join(page.text.split())
    assert "true a, bpredicted a ✗ wrong" in text
    assert "true no labelpredicted no label ✓ right" in text
    assert '<li class="true" style="--v:0.4000"><span>b</span> 0.400</li>' in page.source
    assert page.row("calibration", "ECE, test")[1] == f"{(0.1 + 0.6 + 0.2 + 0.1) / 4:.3f}"


def test_page_stays_small_with_many_classes_and_rows(make_model, read_page) -> None:
    classes = [f"class number {number}" for number in range(300)]
    path = write_model_report(make_model(rows=3000, classes=classes))
    assert Path(path).stat().st_size < 2_000_000
    page = read_page(path)
    assert len(page.tables["confusion"][0]) == 17
    assert "16 most confused of 300 classes" in page.text
    assert len(page.tables["classes"]) == 301


def test_page_has_no_links_and_one_script(make_model) -> None:
    source = unescape(Path(write_model_report(make_model())).read_text("utf-8"))
    assert "http:" not in source
    assert "https:" not in source
    [script] = re.findall("<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source
    assert "default-src 'none'" in source


def test_unfinished_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="has none"):
        write_model_report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_paths_may_be_fsspec_urls(make_model) -> None:
    model = make_model()
    for file in Path(model).iterdir():
        with files.create(f"memory://report-test/{file.name}") as output:
            output.write(file.read_bytes())
    path = write_model_report("memory://report-test")
    assert path == "memory://report-test/report.html"
    assert files.size(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [("config", "from other shards than"), ("none", "has no shards")],
)
def test_wrong_shards_are_an_error(
    make_model: Callable[..., str], make_shards: Any, tmp_path: Path, change: str, message: str
) -> None:
    shards = make_shards({"a": {"txt": b"x"}})
    manifest = Path(shards, "manifest.json")
    if change == "config":
        manifest.write_text(manifest.read_text().replace("of-the-shards", "of others"))
    else:
        manifest.unlink()
    with pytest.raises(MmfeatError, match=message):
        write_model_report(make_model(), shards=shards)
