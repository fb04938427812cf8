"""Scoring of shards: encoders run on the way, and nothing is written but the predictions."""

import csv
import json
import shutil

import numpy as np
import pyarrow.dataset as ds
import pytest

from mmfeat.api import open_store
from mmfeat.features import FeatureStore
from tests.faults import assert_one_error, kill, wait_for
from tests.pipelines.score.conftest import ROWS


@pytest.fixture
def score(scored, mmfeat, tmp_path):
    """Runs `mmfeat score` on the shards, into a folder of the test."""

    def run(*flags, model="model", output="out"):
        paths = [path if "/" in str(path) else scored / path for path in (model, "shards")]
        return mmfeat("score", *paths, tmp_path / output, *flags)

    return run


def rows_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def test_predictions_of_shards_are_those_of_features(scored, score, tmp_path):
    result = score()
    assert result.returncode == 0, result.stderr
    assert rows_of(tmp_path / "out") == rows_of(scored / "predictions")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    receipts = {f"0000{n}_stats.json" for n in range(4)}
    # No feature is kept: columns/ describes the encoders.
    assert names == {"columns", "config.json", "data", "manifest.json", "report.html", *receipts}
    kept = [path.name for path in (tmp_path / "out" / "columns").rglob("*") if path.is_file()]
    assert kept == ["column.json"] * 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["input"]["kind"] == "shards"
    assert manifest["totals"]["records"] == len(ROWS)
    assert "nothing to do" in score().stdout


@pytest.mark.parametrize("records", [300])
def test_a_model_of_emoji_predicts_the_same_from_features_and_from_tars(
    real_data, mmfeat, tmp_path, records
):
    source = real_data("emoji")
    with (source / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for _, row in zip(range(records), csv.DictReader(file), strict=False)]
    with (tmp_path / "emoji.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "file_name": source / row["file_name"]} for row in rows)
    shards, features, model = (tmp_path / name for name in ("shards", "features", "model"))
    flags = ("--samples-per-shard", 100)
    assert mmfeat("shard", tmp_path / "emoji.csv", shards, *flags).returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    train = ("--target", "subgroup", "--fusion", "gmu", "--epochs", 2, "--lr", 0.003)
    assert mmfeat("train", features, model, *train).returncode == 0
    for source, output in ((features, "one"), (shards, "two")):
        result = mmfeat("score", model, source, tmp_path / output, "--columns", "label,subgroup")
        assert result.returncode == 0, result.stderr
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
    table = ds.dataset(tmp_path / "two" / "data").to_table()
    assert len(table) == records
    assert set(table["status"].to_pylist()) == {"ok"}


@pytest.mark.slow
def test_killed_scoring_of_shards_continues_with_the_same_bytes(
    scored, score, mmfeat_process, tmp_path, snapshot
):
    flags = ("--columns", "label", "--explain")
    assert score(*flags, output="whole/out").returncode == 0
    output = tmp_path / "out"

    def count_receipts():
        return len([*output.glob("*_stats.json")])

    paths = (scored / "model", scored / "shards", output)
    for kills in range(1, 4):
        process = mmfeat_process("score", *paths, *flags)
        assert wait_for(process, lambda kills=kills: count_receipts() >= kills)
        if not kill(process):
            break
    assert score(*flags).returncode == 0
    whole, continued = snapshot(tmp_path / "whole" / "out"), snapshot(output)
    assert continued == whole


def test_features_are_kept_on_request_and_equal_those_of_extract(scored, score, tmp_path, snapshot):
    kept = tmp_path / "kept"
    assert score("--keep-features", kept).returncode == 0
    assert rows_of(tmp_path / "out") == rows_of(scored / "predictions")
    ours, theirs = snapshot(kept), snapshot(scored / "features")
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name.endswith((".arrow", ".parquet")))
    assert FeatureStore(str(kept)).records == len(ROWS)
    shutil.rmtree(tmp_path / "out")
    assert score("--keep-features", kept).returncode == 0  # reads the features it has kept
    assert rows_of(tmp_path / "out") == rows_of(scored / "predictions")
    assert snapshot(kept) == ours


def test_options_of_encoders_need_shards(scored, mmfeat, tmp_path):
    paths = (scored / "model", scored / "features", tmp_path / "out")
    for flags in (("--keep-features", tmp_path / "kept"), ("--encoder", "image=builtin:image")):
        assert "needs shards as INPUT" in assert_one_error(mmfeat("score", *paths, *flags))
    assert not (tmp_path / "out").exists()


def test_another_model_into_the_same_directory_is_refused(scored, score, mmfeat, tmp_path):
    assert score().returncode == 0
    train = ("--target", "label", "--fusion", "concat", "--epochs", 1, "--lr", 0.003)
    assert mmfeat("train", scored / "features", tmp_path / "model", *train).returncode == 0
    line = assert_one_error(score(model=tmp_path / "model"))
    assert "the model has other weights" in line


@pytest.fixture
def broken(scored, tmp_path):
    """A copy of the shards to damage."""
    shutil.copytree(scored / "shards", tmp_path / "shards")
    return tmp_path / "shards"


def test_a_renamed_shard_is_named_in_one_line(scored, broken, mmfeat, tmp_path):
    (broken / "00001.tar").rename(broken / "00007.tar")
    line = assert_one_error(mmfeat("score", scored / "model", broken, tmp_path / "out"))
    assert "1 of 4 shards" in line
    assert f"shard 00001 of {broken} is missing or has changed" in line
    (broken / "00007.tar").rename(broken / "00001.tar")
    assert mmfeat("score", scored / "model", broken, tmp_path / "out").returncode == 0
    assert rows_of(tmp_path / "out") == rows_of(scored / "predictions")


def test_swapped_shards_are_found(scored, broken, mmfeat, tmp_path):
    first, second = (broken / f"0000{n}.tar" for n in (0, 1))
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    line = assert_one_error(mmfeat("score", scored / "model", broken, tmp_path / "out"))
    assert "2 of 4 shards" in line


def test_a_damaged_tar_fails_its_shard_only(scored, broken, mmfeat, tmp_path):
    path = broken / "00002.tar"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    line = assert_one_error(mmfeat("score", scored / "model", broken, tmp_path / "out"))
    assert "1 of 4 shards" in line
    assert "00002" in line
    assert not (tmp_path / "out" / "data" / "00002.parquet").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_damaged_column_file_is_named_in_one_line(scored, mmfeat, tmp_path):
    shutil.copytree(scored / "features", tmp_path / "features")
    path = tmp_path / "features" / "image" / "00001.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    paths = (scored / "model", tmp_path / "features", tmp_path / "out")
    line = assert_one_error(mmfeat("score", *paths))
    assert "1 of 4 shards" in line
    assert str(path) in line


@pytest.fixture
def worded(scored, mmfeat, tmp_path):
    """A model of `text` by word vectors, and the file of the vectors."""
    words = {word for row in ROWS for word in str(row["text"]).split()}
    vectors = tmp_path / "vectors.txt"
    write_vectors(vectors, words, seed=0)
    flag = f"text=embedding:{vectors}"
    features, model = tmp_path / "features", tmp_path / "model"
    assert mmfeat("extract", scored / "shards", features, "--encoder", flag).returncode == 0
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
    assert mmfeat("train", features, model, *train).returncode == 0
    return model, vectors, words


def write_vectors(path, words, seed):
    rng = np.random.default_rng(seed)
    lines = (f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=8))}" for word in sorted(words))
    path.write_text("\n".join(lines) + "\n")


def test_another_checkpoint_at_the_recorded_place_is_refused(worded, score, tmp_path):
    model, vectors, words = worded
    write_vectors(vectors, words, seed=1)
    line = assert_one_error(score(model=model))
    assert "the encoder of text must be the one of the training" in line
    assert "vectors" in line
    assert not (tmp_path / "out").exists()


def test_a_moved_checkpoint_is_named_by_a_flag(worded, score, tmp_path, mmfeat, monkeypatch):
    model, vectors, _ = worded
    moved = tmp_path / "moved.txt"
    vectors.rename(moved)
    assert "no such file of word vectors" in assert_one_error(score(model=model))
    assert not (tmp_path / "out").exists()
    result = score("--encoder", f"text=embedding:{moved}", model=model)
    assert result.returncode == 0, result.stderr
    assert mmfeat("score", model, tmp_path / "features", tmp_path / "two").returncode == 0
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "two")
    line = assert_one_error(score("--encoder", "words:text=builtin:text", model=model))
    assert "--encoder must name columns of the model: text" in line


def test_a_relative_checkpoint_is_found_from_another_folder(scored, mmfeat, tmp_path, monkeypatch):
    words = {word for row in ROWS for word in str(row["text"]).split()}
    write_vectors(tmp_path / "vectors.txt", words, seed=0)
    monkeypatch.chdir(tmp_path)
    flags = ("--encoder", "text=embedding:vectors.txt")
    assert mmfeat("extract", scored / "shards", "features", *flags).returncode == 0
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
    assert mmfeat("train", "features", "model", *train).returncode == 0
    monkeypatch.chdir(scored)
    output = tmp_path / "out"
    assert mmfeat("score", tmp_path / "model", scored / "shards", output).returncode == 0


def test_a_model_does_not_run_code_of_a_stranger(worded, score, tmp_path):
    model, _, _ = worded
    manifest = json.loads((model / "manifest.json").read_bytes())
    manifest["encoder_flags"]["text"] = "text=os:system"
    manifest.pop("checksum", None)
    (model / "manifest.json").write_text(json.dumps(manifest))
    line = assert_one_error(score(model=model))
    assert "code outside of mmfeat" in line
    assert not (tmp_path / "out").exists()


def test_only_selected_records_are_encoded(scored, score, tmp_path):
    result = score("--where", 'label == "red" and sku != "K-7"')
    assert result.returncode == 0, result.stderr
    table = ds.dataset(tmp_path / "out" / "data").to_table()
    expected = {row["sku"] for row in ROWS if row["label"] == "red" and row["sku"] != "K-7"}
    assert {*table["__key__"].to_pylist()} == expected
    whole = ds.dataset(scored / "predictions" / "data").to_table().to_pylist()
    by_key = {row["__key__"]: row for row in whole}
    assert all(row == by_key[row["__key__"]] for row in table.to_pylist())
    manifest = open_store(str(tmp_path / "out")).manifest
    assert manifest["selection"] == {"records": len(ROWS), "left_out": len(ROWS) - len(expected)}
    assert manifest["totals"]["records"] == len(expected)


def test_retried_records_have_one_row_from_shards_as_from_features(
    make_table, picture, mmfeat, tmp_path
):
    rows = [
        {"file_name": f"p{n}.png", "text": f"text {n}" if n % 5 else "", "label": n % 2}
        for n in range(30)
    ]
    table = make_table(rows)
    missing = [table.parent / f"p{n}.png" for n in (0, 5, 7)]
    for path in missing:
        path.unlink()
    shards, features, model = (tmp_path / name for name in ("shards", "features", "model"))
    flags = ("--samples-per-shard", 10)
    assert mmfeat("shard", table, shards, *flags).returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
    assert mmfeat("train", features, model, *train).returncode == 0
    assert mmfeat("score", model, shards, tmp_path / "two").returncode == 0
    for path in missing:
        path.write_bytes(picture())
    assert mmfeat("shard", table, shards, *flags, "--retry-failed").returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    for source, output in ((features, "one"), (shards, "two"), (shards, "three")):
        result = mmfeat("score", model, source, tmp_path / output)
        assert result.returncode == 0, (output, result.stderr)
    one, two, three = (rows_of(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two == three
    keys = ds.dataset(tmp_path / "two" / "data").to_table()["__key__"].to_pylist()
    assert len(keys) == len({*keys}) == 30
