"""The target of the task describe is a column or a text slot, and its own text is no input."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.api import TrainedModel
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import FeatureStore
from training.data.text_target import is_text_slot, read_slot_texts

OPTIONS = {
    "task": "describe",
    "epochs": 1,
    "hidden": 8,
    "decoder_layers": 1,
    "decoder_width": 32,
    "vocabulary": 256,
}
ROWS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards and features of two text slots, and metadata columns."""
    folder = tmp_path_factory.mktemp("texts")
    with open(folder / "items.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "text", "title", "copy", "kind", "name"])
        for row in range(ROWS):
            title = f"Chair {row}" if row % 2 else f"Tisch Größe {row}"
            text = f"{title}. A fine thing of wood, number {row}."
            kind = title.split()[0]
            writer.writerow([f"k{row:03d}", text, title, f" {text.upper()} ", kind, title])
    mmfeat.shard(
        folder / "items.csv",
        folder / "shards",
        key_column="sku",
        text_column=["text", "title=title"],
    )
    mmfeat.extract(
        folder / "shards",
        folder / "features",
        encoder={"text": "builtin:text", "title:text.title": "builtin:text"},
    )
    return folder


def train(run: Path, output: Path, target: str, **options: object) -> TrainedModel:
    return mmfeat.train(run / "features", output, target=target, **OPTIONS, **options)


def test_a_text_slot_is_a_target(run, tmp_path):
    model = train(run, tmp_path / "model", "text", modalities="title")
    table = pq.read_table(tmp_path / "model" / "predictions.parquet").to_pylist()
    assert table
    for row in table:
        number = int(row["__key__"][1:])
        assert row["target"].endswith(f"A fine thing of wood, number {number}.")
    result = mmfeat.evaluate(model.path, run / "features", split="val")
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert result["loss"] == metrics["validation"]["loss"]


def test_the_slot_of_the_target_is_no_input(run, tmp_path):
    for modalities, cure in (("", "--modalities title"), ("text", "of another modality")):
        with pytest.raises(MmfeatError, match="must not be an input") as caught:
            train(run, tmp_path / "model", "text", modalities=modalities)
        assert cure in str(caught.value)
        assert "the feature column text" in str(caught.value)
    assert not (tmp_path / "model" / "config.json").exists()


def test_a_column_with_the_texts_of_a_slot_is_no_target_beside_it(run, tmp_path):
    with pytest.raises(MmfeatError, match=r"equal in 60 of 60 compared records"):
        train(run, tmp_path / "model", "copy")
    train(run, tmp_path / "other", "copy", modalities="title")


def test_a_target_inside_an_input_is_a_warning(run, tmp_path, capsys):
    train(run, tmp_path / "model", "kind", modalities="text")
    assert "contains the target in 60 of 60 compared records" in capsys.readouterr().err


def test_shards_that_are_gone_are_said(run, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(run / "features", moved)
    shutil.move(run / "shards", run / "gone")
    try:
        with pytest.raises((MmfeatError, FileNotFoundError)):
            mmfeat.train(moved, tmp_path / "one", target="text", modalities="title", **OPTIONS)
    finally:
        shutil.move(run / "gone", run / "shards")


def test_a_damaged_shard_is_an_error(run, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(run / "shards", shards)
    (tar,) = shards.glob("*.tar")
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_slot_texts(str(shards), tar.stem, "text")


def test_only_text_slots_without_a_column_of_the_name_are_slots(run):
    store = FeatureStore(str(run / "features"))
    assert is_text_slot("text", store)
    assert is_text_slot("text.title", store)
    assert not is_text_slot("kind", store)
    assert not is_text_slot("image", store)
    assert not is_text_slot("text.other", store)
