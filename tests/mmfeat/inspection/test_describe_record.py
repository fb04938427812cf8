import json
import shutil

import numpy as np
import pytest

import mmfeat as api
from mmfeat.cli.show import main
from mmfeat.errors import MmfeatError
from mmfeat.inspection.config import ShowConfig
from mmfeat.inspection.describe_record import describe_record
from tests.mmfeat.inspection.conftest import SCRIPT, write_sound, write_table


def describe(path, key, **options):
    return describe_record(ShowConfig(str(path), key, **options))


def test_predictions_show_features_and_shards_too(stores):
    facts = describe(stores / "predictions", "k014")
    row = api.open(stores / "predictions")["k014"]
    assert facts["predictions"]["prediction"] == row["prediction"]
    assert facts["predictions"]["confidence"] == row["probability"]
    assert facts["predictions"]["probabilities"] == {
        name: row[f"p_{name}"] for name in facts["predictions"]["probabilities"]
    }
    vector = api.open(stores / "features")["k014"].features["image"]
    image = facts["features"]["image"]
    assert (image["shape"], image["dtype"]) == ("1185", "float16")
    assert image["norm"] == pytest.approx(np.linalg.norm(vector.astype(float)), abs=1e-5)
    shards = facts["shards"]
    assert shards["columns"] == {
        "id": "k014", "file_name": "p014.png", "label": "dog", "split": "test", "price": "7.0",
    }  # fmt: skip
    record = api.open(stores / "shards")["k014"]
    assert shards["parts"]["text"]["text"] == record.texts["text"]
    assert shards["parts"]["image"] == {
        "bytes": len(record.members["image"]), "format": "PNG", "width": 24, "height": 24,
    }  # fmt: skip


def test_a_key_of_the_table_is_found_as_the_key_it_became(stores):
    assert describe(stores / "predictions", " k014 ") == describe(stores / "predictions", "k014")
    with pytest.raises(MmfeatError, match="must have the key"):
        describe(stores / "predictions", "k/014")


def test_what_is_missing_has_its_reason(stores, capsys):
    facts = describe(stores / "features", "k003")
    assert facts["features"]["image"]["reason"] == "not_found"
    assert facts["shards"]["reason"] == "image:not_found"
    assert list(facts["shards"]["parts"]) == ["text"]
    main([str(stores / "predictions"), "k023"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "image:not_found, text:missing (the file or URL does not exist)" in shown


def test_the_terminal_shows_every_store_of_a_record(stores, capsys):
    main([str(stores / "model"), api_test_key(stores)])
    shown = capsys.readouterr().out
    for title in ("in model", "in features", "in shards"):
        assert title in shown
    assert "PNG, 24 x 24 pixels" in shown
    assert "1185 x float16 of image by builtin:image" in shown


def api_test_key(stores):
    return next(r.key for r in api.open(stores / "shards") if r["split"] == "test")


def test_json_is_one_object(stores, capsys):
    main([str(stores / "predictions"), "k014", "--json"])
    assert json.loads(capsys.readouterr().out) == describe(stores / "predictions", "k014")


def test_an_unknown_key_is_an_error(stores):
    with pytest.raises(MmfeatError, match="must have the key; got 'nobody'"):
        describe(stores / "shards", "nobody")


def test_stores_that_are_gone_are_named(stores, tmp_path):
    shutil.copytree(stores / "predictions", tmp_path / "predictions")
    (stores / "features").rename(stores / "moved")
    try:
        facts = describe(tmp_path / "predictions", "k014")
        assert "no longer in" in facts["shards"]["problem"]
        assert "features" not in facts
        facts = describe(tmp_path / "predictions", "k014", shards=str(stores / "shards"))
        assert facts["shards"]["columns"]["label"] == "dog"
    finally:
        (stores / "moved").rename(stores / "features")


def test_sounds_and_hostile_texts(tmp_path, capsys):
    key = f"{SCRIPT}\x1b]0;owned\x07"
    rows = [{"id": key, "audio": "a.wav", "text": "\x1b[31mred\x07\nnext \u202eline"}]
    table = write_table(tmp_path / "raw", rows)
    write_sound(tmp_path / "raw" / "a.wav", seconds=1)
    shards = api.shard(table, tmp_path / "shards", key_column="id")
    stored = next(iter(shards)).key
    capsys.readouterr()
    main([str(tmp_path / "shards"), stored])
    shown = capsys.readouterr().out
    assert "1 s, 8,000 Hz, 1 channel" in shown
    assert "[31mred" in shown
    assert "next" in shown
    assert not {"\x1b", "\x07", "\u202e"} & {*shown}
