"""predictions.parquet of a trained model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.models.saved_model import load_model
from tests.training.stores import gap_records
from training.train import main as train

QUICK = ["--target", "label", "--epochs", "2", "--lr", "0.003", "--hidden", "16", "--fusion"]


@pytest.fixture(scope="module")
def model(gap_store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictions") / "model"
    train([gap_store, str(path), *QUICK, "gmu"])
    return path


@pytest.fixture(scope="module")
def rows(model: Path) -> pa.Table:
    return pq.read_table(model / "predictions.parquet")


def test_columns(rows: pa.Table) -> None:
    assert rows.column_names == [
        "__key__", "shard", "split", "target", "prediction", "probability",
        "p_blue", "p_green", "p_red", "loss", "w_image", "present_image", "w_text", "present_text",
    ]  # fmt: skip


def test_each_validation_and_test_record_has_one_row(rows: pa.Table, gap_store: str) -> None:
    records = gap_records()
    scorable = records.present["image"] | records.present["text"]
    expected = {
        f"key-{row:06d}": split
        for row, (label, split) in enumerate(
            zip(records.metadata["label"], records.metadata["split"], strict=True)
        )
        if (label or "").strip() and split in ("val", "test") and scorable[row]
    }
    keys = rows["__key__"].to_pylist()
    assert dict(zip(keys, rows["split"].to_pylist(), strict=True)) == expected
    assert len(keys) == len(expected)
    store = FeatureStore(gap_store)
    for shard in store.shards:
        shard_keys = set(store.read_samples(shard, ["__key__"])["__key__"].to_pylist())
        row_keys = rows.filter(pc.equal(rows["shard"], shard))["__key__"].to_pylist()
        assert shard_keys.issuperset(row_keys)


def test_targets_and_presence_match_the_record(rows: pa.Table) -> None:
    records = gap_records()
    for row in rows.to_pylist():
        number = int(row["__key__"][4:])
        assert row["target"] == records.metadata["label"][number]
        for name in ("image", "text"):
            assert row[f"present_{name}"] == records.present[name][number]
            if not row[f"present_{name}"]:
                assert row[f"w_{name}"] == 0
        assert row["w_image"] + row["w_text"] == pytest.approx(1)


def test_loss_and_probability_match_the_classes(rows: pa.Table) -> None:
    for row in rows.to_pylist():
        assert row["probability"] == row[f"p_{row['prediction']}"]
        if row["target"] == "violet":  # no training row has it
            assert row["loss"] == float("inf")
        else:
            assert row["loss"] == pytest.approx(-np.log(row[f"p_{row['target']}"]), rel=1e-4)


def test_probabilities_equal_the_loaded_model(rows: pa.Table, model: Path, gap_store: str) -> None:
    loaded, store = load_model(str(model)), FeatureStore(gap_store)
    expected: dict[str, np.ndarray] = {}
    for shard in store.shards:
        scores = loaded.predict_shard(
            {c: store.read_column(c, shard) for c in store.columns}
        ).scores
        keys = store.read_samples(shard, ["__key__"])["__key__"].to_pylist()
        expected |= dict(zip(keys, scores, strict=True))
    for row in rows.to_pylist():
        p = [row[f"p_{name}"] for name in loaded.task.config["classes"]]
        np.testing.assert_array_equal(np.array(p, np.float32), expected[row["__key__"]])


def test_a_model_without_weights_has_null_weights(gap_store: str, tmp_path: Path) -> None:
    train([gap_store, str(tmp_path / "model"), *QUICK, "concat"])
    rows = pq.read_table(tmp_path / "model/predictions.parquet")
    assert rows["w_image"].null_count == len(rows) > 0
    assert rows["w_image"].type == pa.float32()
