import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.cli.info import describe_store
from mmfeat.storage import files
from mmfeat.store import open_run, write_manifest


@pytest.fixture
def shards(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "shards")
    return tmp_path / "shards"


def test_info_shows_what_a_store_contains(mmfeat, shards):
    result = mmfeat("info", shards)
    assert result.returncode == 0
    assert "shards in" in result.stdout
    assert "samples_per_shard" in result.stdout


def test_info_as_json_is_one_object(mmfeat, shards):
    facts = json.loads(mmfeat("info", shards, "--json").stdout)
    assert facts["kind"] == "shards"
    assert facts["finished"] is True
    assert facts["totals"]["records"] == 60
    assert facts["config"]["samples_per_shard"] == 1000


def test_info_shows_whether_a_store_is_finished(mmfeat, shards):
    (shards / "manifest.json").unlink()
    assert json.loads(mmfeat("info", shards, "--json").stdout)["finished"] is False


def test_info_refuses_other_directories(mmfeat, tmp_path):
    result = mmfeat("info", tmp_path)
    assert result.returncode == 1
    assert "has none" in result.stderr


def test_info_shows_every_column_of_a_model(mmfeat, shards, tmp_path):
    mmfeat("extract", shards, tmp_path / "features")
    mmfeat("train", tmp_path / "features", tmp_path / "model", "--target", "label",
           "--fusion", "sum", "--lr", "0.01", "--epochs", "1")  # fmt: skip
    shown = mmfeat("info", tmp_path / "model").stdout
    assert shown.count("fingerprint") == 2
    assert "builtin:image" in shown
    assert "builtin:text" in shown
    assert "{" not in shown


def test_what_a_store_is_comes_first_and_digests_last(mmfeat, shards, tmp_path):
    mmfeat("extract", shards, tmp_path / "features")
    for path in (shards, tmp_path / "features"):
        shown = mmfeat("info", path).stdout
        assert shown.index("records") < shown.index("values") < shown.index("digests")
        assert "string, 2 values: cat (30), dog (30)" in shown
        assert not re.search("[0-9a-f]{13}", shown[: shown.index("digests")])
        assert len(re.findall(r"(?m)^│ p\d{3} ", shown)) == 3  # keys of sample rows
    assert "60 features of image, 1185 x float16, builtin:image" in shown


def test_info_counts_values_and_reasons(mmfeat, make_table, tmp_path):
    rows = [{"file_name": f"{n}.png", "label": "cat" if n % 3 else "", "price": n, "note": "x" * n}
            for n in range(10)]  # fmt: skip
    table = make_table(rows)
    (table.parent / "4.png").unlink()
    mmfeat("shard", table, tmp_path / "out")
    facts = json.loads(mmfeat("info", tmp_path / "out", "--json").stdout)
    columns = facts["contents"]["columns"]
    assert columns["label"] == {
        "type": "string", "filled": 6, "distinct": 1, "most_frequent": {"cat": 6},
    }  # fmt: skip
    assert columns["note"]["filled"] == 9
    assert len(facts["contents"]["samples"]) == 3
    shown = " ".join(mmfeat("info", tmp_path / "out").stdout.split())
    assert "6 filled (60%)" in shown
    assert "image:not_found │ 1 (the file or URL does not exist)" in shown


def test_a_damaged_table_is_named(mmfeat, shards):
    table = shards / "00000.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    result = mmfeat("info", shards)
    assert result.returncode == 0
    assert "00000.parquet" in result.stdout


def test_a_model_and_predictions_show_their_classes_and_metrics(mmfeat, interrupted):
    shown = " ".join(mmfeat("info", "model").stdout.split())
    assert re.search("test │ accuracy 0|test │ accuracy 1", shown)
    assert "classes │ cat, dog" in shown
    shown = " ".join(mmfeat("info", "predictions").stdout.split())
    assert re.search(r"prediction │ string, 2 values: (cat|dog) \(\d+\)", shown)
    assert "float, 0." in shown  # the probability


@pytest.fixture
def interrupted(mmfeat, toy_table, tmp_path, monkeypatch):
    """Shards, features and predictions of four shards, and copies without some of them."""
    monkeypatch.chdir(tmp_path)
    mmfeat("shard", toy_table, "shards", "--samples-per-shard", "15")
    mmfeat("extract", "shards", "features")
    mmfeat("train", "features", "model", "--target", "label", "--fusion", "logistic",
           "--inverse-penalty", "1")  # fmt: skip
    mmfeat("score", "model", "features", "predictions")
    for kind in ("shards", "features", "predictions"):
        shutil.copytree(kind, f"{kind}_2")
        (tmp_path / f"{kind}_2" / "manifest.json").unlink()
    for name in ("00001", "00003"):
        for folder in ("shards_2", "predictions_2"):
            (tmp_path / folder / f"{name}_stats.json").unlink()
    return tmp_path


def test_info_shows_how_many_shards_of_an_interrupted_store_are_made(mmfeat, interrupted):
    (interrupted / "features_2" / "columns" / "text" / "00002_stats.json").unlink()
    (interrupted / "features_2" / "columns" / "image" / "00001_stats.json").unlink()
    plan = {"config_hash": describe_store("shards")["config_hash"], "shards": dict.fromkeys("abcd")}
    files.write_json("shards_2/_plan/plan.json", plan)
    for kind, command in (
        ("shards", "mmfeat shard INPUT shards_2"),
        ("features", "mmfeat extract SHARDS features_2"),
        ("predictions", "mmfeat score MODEL INPUT predictions_2"),
    ):
        assert describe_store(f"{kind}_2")["progress"] == {"shards": [2, 4]}
        shown = mmfeat("info", f"{kind}_2").stdout
        assert "2 of 4" in shown
        assert command in shown


def test_the_number_of_all_shards_is_left_out_if_the_input_has_moved(interrupted):
    (interrupted / "features").rename(interrupted / "moved")
    assert describe_store("predictions_2")["progress"] == {"shards": [2]}
    assert describe_store("shards_2")["progress"] == {"shards": [2]}


def test_the_bytes_of_features_are_those_of_all_tables(interrupted):
    written = describe_store("features")["totals"]["bytes_written"]
    tables = [*interrupted.glob("features/*/*.parquet"), *interrupted.glob("features/*/*.arrow")]
    assert written == sum(path.stat().st_size for path in tables)


def test_info_shows_the_leaderboard_of_a_comparison(mmfeat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"metric": "accuracy", "systems": {"gmu": "0123abcd", "concat": "4567abcd"}}
    config_hash = open_run("out", "comparison", config)
    for seed in (0, 1):
        files.write_json(f"out/cells/gmu/{seed}/cell.json", {})
    files.write_json("out/cells/gmu/interaction.json", {})
    (tmp_path / "out/cells/concat/0").mkdir(parents=True)
    assert describe_store("out")["progress"] == {"models": [1, 2], "trials": [2]}
    assert "mmfeat compare FEATURES out" in mmfeat("info", "out").stdout
    rows = [{"name": "concat", "mean": 0.875}, {"name": "gmu", "mean": 0.75}]
    pq.write_table(pa.Table.from_pylist(rows), "out/leaderboard.parquet")
    winner = {"name": "gmu", "model": "out/winner"}
    write_manifest("out", "comparison", config_hash, winner=winner, missing={"gmu": [1, 2]})
    shown = mmfeat("info", "out").stdout
    assert "gmu (seeds 1, 2)" in shown  # its seed 0 is on the leaderboard
    assert "accuracy" in shown
    assert shown.index("0.875") < shown.index("0.750")
    assert "0123abcd" not in shown
    (tmp_path / "out" / "leaderboard.parquet").write_bytes(b"PAR1")
    assert "leaderboard" not in describe_store("out")
