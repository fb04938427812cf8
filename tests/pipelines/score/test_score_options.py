"""Explanations, fused vectors, selections, partitions."""

import re

import duckdb
import numpy as np
import polars
import pytest

from mmfeat.api import open_store
from mmfeat.errors import MmfeatError
from mmfeat.models.inference import run_model
from mmfeat.models.saved_model import load_model
from mmfeat.scoring.predicting import fused_vectors
from mmfeat.verification import verify_store
from tests.faults import assert_one_error
from tests.pipelines.score.conftest import ROWS, read


def test_an_explanation_is_the_change_without_a_modality(scored, score, tmp_path):
    assert score("--explain").returncode == 0
    table, model = read(tmp_path / "out"), load_model(str(scored / "model"))
    features = open_store(str(scored / "features")).store
    rows = {row["__key__"]: row for row in table.to_pylist()}
    seen = 0
    for shard in features.shards:
        keys = features.read_keys(shard).to_pylist()
        columns = {name: features.read_column(name, shard) for name in model.column_names}
        values = {name: column.features for name, column in columns.items()}
        present = {name: column.present for name, column in columns.items()}
        whole = run_model(model.module, values, present).logits
        for name in model.column_names:
            without = present | {name: np.zeros(len(keys), bool)}
            logits = run_model(model.module, values, without).logits
            for row, key in enumerate(keys):
                found = rows[key][f"without_{name}"]
                if not all(mask[row] for mask in present.values()):
                    assert found is None
                    continue
                best = whole[row].argmax()
                change = (logits[row, best] - whole[row, best]) / model.temperature
                assert found == pytest.approx(change, abs=1e-5)
                seen += 1
    assert seen > 60


def test_an_embedding_is_what_the_classifier_reads(scored, score, tmp_path):
    assert score("--embedding").returncode == 0
    rows = {row["__key__"]: row for row in read(tmp_path / "out").to_pylist()}
    module = load_model(str(scored / "model")).module
    weight, bias = (p.detach().numpy() for p in module.classifier.parameters())
    for row in rows.values():
        if row["status"] == "failed":
            assert row["embedding"] is None
            continue
        logits = weight @ np.array(row["embedding"], np.float32) + bias
        logits /= float(module.temperature)
        p = np.exp(logits - logits.max())
        assert row["probability"] == pytest.approx((p / p.sum()).max(), abs=1e-5)


def test_a_model_without_fusion_has_no_embedding(scored, mmfeat, tmp_path):
    train = ("--target", "label", "--fusion", "logistic")
    assert mmfeat("train", scored / "features", tmp_path / "linear", *train).returncode == 0
    paths = (tmp_path / "linear", scored / "features", tmp_path / "out")
    line = assert_one_error(mmfeat("score", *paths, "--embedding"))
    assert "--embedding needs a model with a fusion" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("chosen", "got"),
    [
        ({"fusion": "kernel"}, "kernel"),
        (
            {"fusion": "ensemble", "members": [{"fusion": "ridge"}, {"fusion": "kernel"}]},
            "an ensemble of kernel, ridge",
        ),
        ({"fusion": "ensemble", "members": [{"fusion": "ridge"}, {"fusion": "gmu"}]}, ""),
        ({"fusion": "gmu", "members": "damaged"}, ""),
    ],
)
def test_a_model_without_fusion_is_found_by_its_manifest(monkeypatch, chosen, got):
    manifest = {"config": {"fusion": "?"}, "chosen": chosen}
    monkeypatch.setattr(fused_vectors, "read_manifest", lambda path, kind: manifest)
    if not got:
        fused_vectors.check_has_fusion("m")
        return
    with pytest.raises(MmfeatError, match=f"needs a model with a fusion: m; got.*{got}"):
        fused_vectors.check_has_fusion("m")


def test_keys_of_a_file_select_rows(score, tmp_path, scored):
    (tmp_path / "keys.txt").write_text("K-3\nK-7\nK-12\nunknown\n")
    result = score("--keys", tmp_path / "keys.txt")
    assert result.returncode == 0
    assert re.search(r"keys that no record has\W+1\b", result.stdout)
    selection = open_store(str(tmp_path / "out")).manifest["selection"]
    assert selection == {"records": 40, "left_out": 37, "unknown_keys": 1}
    table = read(tmp_path / "out")
    assert table["__key__"].to_pylist() == ["K-12", "K-3", "K-7"]
    (tmp_path / "keys.txt").write_text("K-3\n")
    assert "the file of --keys has other content" in assert_one_error(
        score("--keys", tmp_path / "keys.txt")
    )


def test_conditions_name_columns_of_the_samples_table(score, tmp_path):
    line = assert_one_error(score("--where", 'lable == "red"'))
    assert "--where must use columns of the samples table" in line
    assert "Did you mean 'label'?" in line
    line = assert_one_error(score("--where", 'label == "green"'))
    assert "must select a record" in line
    assert "none of 40" in line


def test_partitions_open_in_other_tools(scored, score, tmp_path):
    assert score("--partition-by", "label", "--columns", "sku").returncode == 0
    out = tmp_path / "out"
    folders = sorted(path.name for path in (out / "data").iterdir())
    assert folders == ["label=blue", "label=red"]
    given = {row["sku"]: row["label"] for row in ROWS}
    table = read(out)
    found = dict(zip(table["__key__"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert found == given
    files = f"read_parquet('{out}/data/*/*.parquet', hive_partitioning=1)"
    assert dict(duckdb.sql(f"SELECT __key__, label FROM {files}").fetchall()) == given
    frame = polars.scan_parquet(f"{out}/data", hive_partitioning=True).collect()
    assert dict(zip(frame["__key__"], frame["label"], strict=True)) == given
    store = open_store(str(out))
    rows = [row for shard in store.shards for row in store.read_shard(shard).to_pylist()]
    plain = {row["__key__"]: row for row in read(scored / "predictions").to_pylist()}
    assert len(rows) == len(ROWS)
    for row in rows:
        assert row["label"] == given[row["__key__"]]
        assert all(row[name] == value for name, value in plain[row["__key__"]].items())
    assert not verify_store(str(out)).all_damages
    path = next((out / "data" / "label=red").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert len(verify_store(str(out)).all_damages) == 1


def test_partition_values_become_safe_names(make_table, mmfeat, tmp_path, scored):
    values = ["a/../b", "é ~", "", "x" * 10, "Ünïcode=1"]
    cities = [values[n % 5] for n in range(20)]
    rows = [
        {"text": f"text {n}", "city": city, "kind": ("Tees", "TEES")[n % 2], "label": n % 2}
        for n, city in enumerate(cities)
    ]
    table = make_table(rows)
    shards, features = tmp_path / "shards", tmp_path / "features"
    assert mmfeat("shard", table, shards).returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    train = ("--target", "label", "--fusion", "concat", "--epochs", 1, "--lr", 0.003)
    assert mmfeat("train", features, tmp_path / "m", *train).returncode == 0
    result = mmfeat("score", tmp_path / "m", features, tmp_path / "out", "--partition-by", "city")
    assert result.returncode == 0, result.stderr
    folders = [path.name for path in (tmp_path / "out" / "data").iterdir()]
    assert len(folders) == 5
    assert "city=__HIVE_DEFAULT_PARTITION__" in folders
    assert "city=a%2F..%2Fb" in folders
    store = open_store(str(tmp_path / "out"))
    found = {row["city"] for s in store.shards for row in store.read_shard(s).to_pylist()}
    assert found == {*values, None} - {""}
    line = assert_one_error(
        mmfeat("score", tmp_path / "m", features, tmp_path / "kinds", "--partition-by", "kind")
    )
    assert "kind with Tees and TEES" in line
    assert "Choose another column, and another output directory" in line
    assert "same command" not in line


def test_a_column_of_many_values_is_no_partition(score):
    line = assert_one_error(score("--partition-by", "size in cm"))
    assert "ASCII letters" in line
    line = assert_one_error(score("--partition-by", "labels"))
    assert "has no column of that name (--partition-by); got 'labels'" in line


@pytest.mark.parametrize("flags", [("--where", "label == 'typo'"), ("--keys", "KEYS")])
def test_a_selection_without_a_record_leaves_nothing(score, tmp_path, flags):
    (tmp_path / "keys.txt").write_text("unknown\n")
    flags = [flag.replace("KEYS", str(tmp_path / "keys.txt")) for flag in flags]
    assert "must select a record" in assert_one_error(score(*flags))
    assert [*(tmp_path / "out").rglob("*.parquet")] == []
    assert score().returncode == 0


def test_a_file_that_holds_no_keys_is_found_before_the_output_is_claimed(score, tmp_path):
    (tmp_path / "keys.parquet").write_bytes(b"random")
    error = assert_one_error(score("--keys", tmp_path / "keys.parquet"))
    assert "cannot be read as a table" in error
    assert not (tmp_path / "out").exists()
