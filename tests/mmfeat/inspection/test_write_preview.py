import json
import re
import shutil
from html import unescape
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mmfeat as api
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.inspection import write_preview
from mmfeat.inspection.config import PreviewConfig
from mmfeat.inspection.previews import record_previews
from tests.mmfeat.inspection.conftest import write_sound, write_table


def preview(path, **options):
    """Write a page; return its text and the attributes of its cards."""
    page = write_preview.write_preview(PreviewConfig(str(path), **options))
    text = Path(page).read_text("utf-8")
    cards = [
        {name: unescape(value) for name, value in re.findall(r'data-([\w-]+)="([^"]*)"', card)}
        for card in re.findall(r'<article class="card" ([^>]*)>', text)
    ]
    return text, cards


def test_shards_show_their_records_with_status_and_reason(stores, tmp_path):
    text, cards = preview(stores / "shards", output=str(tmp_path / "page.html"))
    table = api.open(stores / "shards").to_arrow(["__key__", "status", "reason", "label"])
    shown = [(c["key"], c["status"], c["reason"] or None, c["label"]) for c in cards]
    assert shown == [tuple(row.values()) for row in table.to_pylist()]
    assert text.count('src="data:image/jpeg') == 57
    assert text.count("image:not_found, text:missing") > 0
    assert "number 13" in text
    assert "29.5" in text  # the price of the last record


def test_predictions_show_what_is_wrong(stores, tmp_path):
    text, cards = preview(stores / "predictions", output=str(tmp_path / "page.html"))
    rows = api.open(stores / "predictions").to_arrow().to_pylist()
    labels = api.open(stores / "shards").to_arrow(["__key__", "label"]).to_pylist()
    label = {row["__key__"]: row["label"] for row in labels}
    for card, row in zip(cards, rows, strict=True):
        assert card["key"] == row["__key__"]
        assert card["label"] == label[card["key"]]
        assert card.get("predicted") == row["prediction"]
        if row["prediction"] is None:
            assert "outcome" not in card
            continue
        assert card["outcome"] == ("right" if row["prediction"] == card["label"] else "wrong")
        assert float(card["confidence"]) == pytest.approx(row["probability"], rel=1e-4)
    wrong = sum(card.get("outcome") == "wrong" for card in cards)
    assert 0 < wrong < 59
    assert f"{wrong} of 59 predictions are wrong" in text
    assert "that the model was trained on" in text


def test_labels_that_are_no_classes_are_not_compared(stores, tmp_path):
    _, cards = preview(stores / "predictions", output=str(tmp_path / "p.html"), target="split")
    assert {card.get("outcome") for card in cards} == {"wrong", None}  # as asked
    renamed = [{**row, "label": "other"} for row in _raw_rows(stores)]
    shards = api.shard(write_table(tmp_path / "raw", renamed), tmp_path / "shards", key_column="id")
    api.extract(shards.path, tmp_path / "features")
    api.score(stores / "model", tmp_path / "features", tmp_path / "predictions")
    _, cards = preview(tmp_path / "predictions")
    assert not any("outcome" in card or card["label"] for card in cards)


def _raw_rows(stores):
    import csv

    with (stores / "raw" / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_features_say_why_a_column_is_absent(stores, tmp_path):
    text, cards = preview(stores / "features", output=str(tmp_path / "page.html"))
    assert len(cards) == 60
    assert text.count('<div class="note">no image: not_found</div>') == 3
    assert text.count('<div class="note">no text:') == 1


def test_predictions_from_shards_in_partitions(stores, tmp_path):
    out = tmp_path / "predictions"
    api.score(
        stores / "model", stores / "shards", out, partition_by="split", embedding=True, explain=True
    )
    text, cards = preview(out)
    rows = {row["__key__"]: row for row in api.open(out).to_arrow().to_pylist()}
    assert {card["key"] for card in cards} == {*rows}
    for card in cards:
        assert card.get("predicted") == rows[card["key"]]["prediction"]
        assert card["label"] in ("cat", "dog")
    assert "data:image/jpeg" in text
    assert "<dt>without_image</dt>" in text
    assert "256 values" in text  # of the embedding
    facts = api.show(out, "k014")
    assert facts["predictions"]["split"] == "test"
    assert facts["shards"]["columns"]["label"] == "dog"
    assert api.info(out)["contents"]["columns"]["split"]["most_frequent"]["train"] == 36
    path = next(out.glob("*_stats.json"))
    receipt = json.loads(path.read_bytes())
    receipt.pop("checksum", None)
    name = next(iter(receipt["files"]))
    hostile = f"data/status=ok/{name.rpartition('/')[2]}"
    receipt["files"] = {hostile: receipt["files"][name]}
    path.write_text(json.dumps(receipt))
    (out / hostile).parent.mkdir()
    (out / name).rename(out / hostile)
    with pytest.raises(DamagedFileError, match="must not have the column of its partition"):
        preview(out)


def test_of_several_models_the_first_is_shown(stores, tmp_path):
    model, out = tmp_path / "by_text", tmp_path / "predictions"
    api.train(stores / "features", model, target="label", modalities="text", fusion="logistic",
              inverse_penalty=1)  # fmt: skip
    api.score([stores / "model", model], stores / "features", out)
    text, cards = preview(out)
    assert "predictions of model are wrong" in text
    rows = api.open(out).to_arrow().to_pylist()
    assert [card.get("predicted") for card in cards] == [row["model_prediction"] for row in rows]
    assert {card["label"] for card in cards} == {"cat", "dog"}
    shown = api.show(out, "k014")["predictions"]
    row = next(row for row in rows if row["__key__"] == "k014")
    assert "prediction" not in shown
    for name in ("model", "by_text"):
        facts = shown[f"model {name}"]
        assert facts["prediction"] == row[f"{name}_prediction"]
        assert facts["confidence"] == pytest.approx(row[f"{name}_probability"])
        assert facts["probabilities"]["cat"] == pytest.approx(row[f"{name}_p_cat"])


def test_a_model_shows_its_validation_and_test_rows(stores, tmp_path):
    _, cards = preview(stores / "model", output=str(tmp_path / "page.html"))
    table = pq.read_table(stores / "model" / "predictions.parquet").to_pylist()
    assert [(c["key"], c["label"], c["predicted"]) for c in cards] == [
        (row["__key__"], row["target"], row["prediction"]) for row in table
    ]
    assert [float(c["loss"]) for c in cards] == pytest.approx([r["loss"] for r in table], rel=1e-4)


def test_a_large_store_is_sampled_with_the_seed(stores, tmp_path):
    keys = [
        [card["key"] for card in preview(stores / "shards", output=str(tmp_path / "p.html"),
                                         limit=20, seed=seed)[1]]
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]
    assert len(set(keys[0])) == 20
    order = api.open(stores / "shards").to_arrow(["__key__"])["__key__"].to_pylist()
    assert keys[0] == [key for key in order if key in keys[0]]


def test_the_media_of_a_page_are_limited(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(write_preview, "MAX_MEDIA_CHARACTERS", 8000)
    text, _ = preview(stores / "shards", output=str(tmp_path / "page.html"))
    media = sum(map(len, re.findall(r'src="(data:[^"]*)"', text)))
    assert 0 < media <= 8000
    assert record_previews.LEFT_OUT in text


def test_cells_of_any_size_make_a_small_page(tmp_path):
    rows = [{"id": "a", "file_name": "p.png", "text": "x", "label": "l" * 10**6,
             "note": "n" * 10**6}]  # fmt: skip
    api.shard(write_table(tmp_path / "raw", rows), tmp_path / "shards")
    text, _ = preview(tmp_path / "shards")
    assert len(text) < 60_000


def test_records_of_shards_that_are_gone_have_a_note(stores, tmp_path):
    for name in ("features", "predictions"):
        shutil.copytree(stores / name, tmp_path / name)
    (stores / "shards").rename(stores / "moved")
    try:
        text, cards = preview(tmp_path / "predictions")
        assert "Name the shards with" in text
        assert len(cards) == 60
        _, cards = preview(tmp_path / "predictions", shards=str(stores / "moved"))
        assert {card["label"] for card in cards} == {"cat", "dog"}
    finally:
        (stores / "moved").rename(stores / "shards")


def test_other_shards_are_refused(stores, hostile_shards):
    with pytest.raises(MmfeatError, match="other shards"):
        preview(stores / "predictions", shards=str(hostile_shards))


def test_a_damaged_file_is_an_error_and_no_page_is_written(stores, tmp_path):
    shutil.copytree(stores / "shards", tmp_path / "shards")
    path = tmp_path / "shards" / "00001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MmfeatError, match="00001"):
        preview(tmp_path / "shards")
    assert not (tmp_path / "shards" / "preview.html").exists()


def test_a_column_that_does_not_exist_is_an_error(stores):
    with pytest.raises(MmfeatError, match=r"--target.*got 'lable'.*price"):
        preview(stores / "shards", target="lable")


@pytest.mark.parametrize("limit", [0, 5001])
def test_the_limit_is_checked(limit):
    with pytest.raises(MmfeatError, match="--limit"):
        PreviewConfig("x", limit=limit)


def test_a_ranking_shows_its_first_records(stores, tmp_path):
    model, ranking = tmp_path / "align", tmp_path / "ranking"
    api.train(stores / "features", model, task="align", lr=0.001, epochs=1)
    api.align_report(model, stores / "features", ranking)
    text, cards = preview(ranking, limit=5, shards=str(stores / "shards"))
    first = pq.read_table(ranking / "misaligned.parquet").slice(0, 5)
    assert [card["key"] for card in cards] == first["__key__"].to_pylist()
    assert [float(c["misalignment"]) for c in cards] == pytest.approx(
        first["misalignment"].to_pylist(), rel=1e-4
    )
    assert "the first 5 of" in text
    assert "data:image/jpeg" in text


def test_retried_records_are_shown_once(tmp_path):
    rows = [{"id": f"k{n}", "file_name": f"p{n}.png" if n else "gone.png"} for n in range(4)]
    table = write_table(tmp_path / "raw", rows)
    shards = tmp_path / "shards"
    api.shard(table, shards, shuffle="none", key_column="id")
    assert [card["status"] for card in preview(shards)[1]] == ["failed", "ok", "ok", "ok"]
    shutil.copy(tmp_path / "raw" / "p1.png", tmp_path / "raw" / "gone.png")
    api.shard(table, shards, shuffle="none", key_column="id", retry_failed=True)
    _, cards = preview(shards)
    assert [(c["key"], c["status"]) for c in cards] == [(f"k{n}", "ok") for n in (1, 2, 3, 0)]


def test_sounds_become_short_copies(tmp_path):
    folder = tmp_path / "raw"
    rows = [{"id": "a", "audio": "a.wav"}, {"id": "b", "audio": "b.wav"}]
    table = write_table(folder, rows)
    write_sound(folder / "a.wav", seconds=60)
    write_sound(folder / "b.wav")
    api.shard(table, tmp_path / "shards")
    text, cards = preview(tmp_path / "shards")
    sounds = re.findall(r'<audio controls preload="none" src="(data:audio/[^"]*)"', text)
    assert len(sounds) == len(cards) == 2
    assert max(map(len, sounds)) < 200_000  # a minute as WAV has 1.3 MB
