"""Two texts and two images per record, from the table to predictions."""

import json
import random

import pyarrow.dataset as ds
import pytest


@pytest.fixture
def features(mmfeat, make_table, picture, tmp_path):
    """Features of 120 records whose label only the second text and the second image tell."""
    rng = random.Random(5)
    rows, backs = [], {}
    for number in range(120):
        label = rng.choice(("good", "bad"))
        rows.append(
            {
                "file_name": f"{number}.png",
                "back": f"b{number}.png" if number % 11 else "",
                "title": f"item {rng.randrange(1000)}",
                "description": f"{label} {label}" if number % 7 else "",
                "label": label,
                "split": ("train", "train", "train", "val", "test")[number % 5],
            }
        )
        backs[number] = picture((250, 20, 20) if label == "good" else (20, 20, 250))
    table = make_table(rows)
    for number, content in backs.items():
        (table.parent / f"b{number}.png").write_bytes(content)
    result = mmfeat("shard", table, tmp_path / "shards", "--image-column", "file_name",
                    "--image-column", "back=back", "--text-column", "title",
                    "--text-column", "desc=description")  # fmt: skip
    assert result.returncode == 0, result.stderr
    encoders = ("image=builtin:image", "back:image.back=builtin:image", "text=builtin:text",
                "desc:text.desc=builtin:text")  # fmt: skip
    flags = [argument for encoder in encoders for argument in ("--encoder", encoder)]
    result = mmfeat("extract", tmp_path / "shards", tmp_path / "features", *flags)
    assert result.returncode == 0, result.stderr
    return tmp_path / "features"


def test_second_slots_train_and_score(mmfeat, features, tmp_path):
    accuracies = {}
    for columns in ("image,text", "back,desc"):
        model = tmp_path / columns.replace(",", "_")
        result = mmfeat("train", features, model, "--target", "label", "--modalities", columns,
                        "--fusion", "logistic")  # fmt: skip
        assert result.returncode == 0, result.stderr
        accuracies[columns] = json.loads((model / "metrics.json").read_text())["test"]["accuracy"]
    assert accuracies["back,desc"] == 1 > accuracies["image,text"]
    assert "back (image.back), desc (text.desc)" in result.stdout
    page = (tmp_path / "back_desc" / "report.html").read_text()
    assert "image.back, builtin:image" in page
    assert "text.desc" in page
    predictions = tmp_path / "predictions"
    scored = mmfeat("score", tmp_path / "back_desc", features, predictions)
    assert scored.returncode == 0, scored.stderr
    assert "back (image.back), desc (text.desc)" in scored.stdout
    table = ds.dataset(predictions / "data", format="parquet").to_table()
    reasons = [reason for reason in table["reason"].to_pylist() if reason]
    assert reasons == ["back:missing, desc:missing"] * 2


def test_compare_has_a_model_of_each_slot(mmfeat, features, tmp_path):
    out = tmp_path / "compare"
    result = mmfeat("compare", features, out, "--target", "label", "--modalities", "text,desc",
                    "--fusions", "concat", "--seeds", "1", "--epochs", "2", "--lr", "0.003",
                    "--hidden", "8", "--emap-rows", "8", "--workers", "1")  # fmt: skip
    assert result.returncode == 0, result.stderr
    winner = json.loads((out / "manifest.json").read_text())["winner"]["name"]
    assert winner != "text"
    assert "test rows lack desc" in result.stdout
    config = json.loads((out / "winner" / "config.json").read_text())["config"]
    assert "text.desc" in [column["encoder"].get("slot") for column in config["columns"]]
