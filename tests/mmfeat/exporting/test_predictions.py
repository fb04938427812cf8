import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.exporting.open_source import open_source
from tests.mmfeat.exporting.exports import export, read_arrays, read_tables


def test_predictions_are_exported_with_their_embeddings(tmp_path):
    table = pa.table(
        {
            "__key__": ["a", "b"],
            "prediction": ["cat", "dog"],
            "embedding": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
        }
    )
    folder = tmp_path / "predictions"
    write_predictions(folder, table)
    export(folder, tmp_path / "parquet")
    assert read_tables(tmp_path / "parquet" / "data").to_pylist() == table.to_pylist()
    manifest = export(folder, tmp_path / "npy", format="npy")
    assert read_arrays(tmp_path / "npy", "embedding").tolist() == [[1.0, 2.0]]
    assert manifest["totals"]["rejected"] == {"embedding:missing": 1}
    assert open_source(str(folder)).modalities == {"embedding": ""}
    table = table.set_column(2, "embedding", pa.array([[1.0, 2.0], [3.0]], pa.list_(pa.float32())))
    write_predictions(tmp_path / "odd", table)
    with pytest.raises(DamagedFileError, match=r"vectors of 2 numbers.*one of 1"):
        export(tmp_path / "odd", tmp_path / "none", format="npy")
    with pytest.raises(MmfeatError, match=r"images and of texts.*--format npy"):
        export(folder, tmp_path / "clip", format="clip-retrieval")


def write_predictions(folder, table):
    from mmfeat.store import Receipt, open_run, record_file, write_manifest
    from mmfeat.store.receipts import keys_digest

    config_hash = open_run(str(folder), "predictions", {"model": "m"})
    (folder / "data").mkdir()
    pq.write_table(table, folder / "data" / "00000.parquet")
    keys = table["__key__"].to_pylist()
    digest = keys_digest(keys)
    name = "data/00000.parquet"
    receipt = Receipt(
        "00000", config_hash, len(keys), len(keys),
        files={name: record_file(str(folder / name))}, keys_sha256=digest,
    )  # fmt: skip
    receipt.write(str(folder))
    shard = {"name": "00000", "records": len(keys), "keys_sha256": digest}
    totals = {"records": len(keys), "out": len(keys), "bytes_read": 0, "bytes_written": 0}
    totals |= {"rejected": {}, "status": {}, "problems": {}}
    write_manifest(str(folder), "predictions", config_hash, shards=[shard], totals=totals)


@pytest.mark.slow
def test_emoji_are_exported_as_features_and_as_partitioned_predictions(mmfeat, real_data, tmp_path):
    table = real_data("emoji") / "metadata.csv"
    for arguments in (
        ("shard", table, tmp_path / "shards"),
        ("extract", tmp_path / "shards", tmp_path / "features"),
        ("train", tmp_path / "features", tmp_path / "model", "--target", "label", "--fusion", "gmu",
            "--epochs", "1", "--lr", "0.001"),
        ("score", tmp_path / "model", tmp_path / "features", tmp_path / "predictions",
            "--columns", "label", "--embedding", "--partition-by", "label"),
        ("export", tmp_path / "features", tmp_path / "arrays", "--format", "npy"),
        ("export", tmp_path / "predictions", tmp_path / "fused", "--format", "npy"),
        ("verify", tmp_path / "fused"),
    ):  # fmt: skip
        result = mmfeat(*arguments)
        assert result.returncode == 0, result.stderr
    keys = read_tables(tmp_path / "arrays" / "metadata")["__key__"].to_pylist()
    assert len(read_arrays(tmp_path / "arrays", "image")) == len(keys) == 1871
    fused = read_tables(tmp_path / "fused" / "metadata").to_pylist()
    assert {row["__key__"] for row in fused} == {*keys}
    assert {row["label"] for row in fused} >= {"Flags", "Smileys & Emotion"}
    assert read_arrays(tmp_path / "fused", "embedding").shape[0] == 1871
