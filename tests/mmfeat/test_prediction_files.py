"""Files of predictions, whole and in partitions."""

import pyarrow as pa
import pytest

from mmfeat import prediction_files
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.prediction_files import (
    MAX_PARTITIONS,
    check_partition_column,
    iter_rows,
    read_rows,
    remove_partitions,
    write_rows,
)
from mmfeat.store import Receipt, RunStoppedError, ShardAttempt, read_receipt


def commit(folder, values, partition_by="v", shard="00000"):
    rows = len(values)
    table = pa.table({"__key__": [f"k{n}" for n in range(rows)], "v": values})
    attempt = ShardAttempt(str(folder), shard)
    written = write_rows(attempt, "data", shard, table, partition_by)
    attempt.commit(Receipt(shard, "h", rows, rows))
    return table, written, read_receipt(str(folder), shard, "h")


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", None, "a", "é/=%..", ".", "..", "a b", "~"],
        [3, -1, None],
        [True, False],
        [],
        ["__HIVE_DEFAULT_PARTITION__", None],
    ],
)
def test_partitions_are_read_as_they_were_written(tmp_path, values):
    column = pa.array(values, pa.string()) if not values else pa.array(values)
    table, written, receipt = commit(tmp_path, column)
    assert receipt is not None
    assert written.num_rows == len(values)
    assert all(path.resolve().is_relative_to(tmp_path) for path in tmp_path.rglob("*.parquet"))
    expected = written["v"].to_pylist()
    found = read_rows(str(tmp_path), receipt)
    assert found["__key__"].to_pylist() == written["__key__"].to_pylist()
    assert found["v"].to_pylist() == expected
    assert found["v"].type == table["v"].type
    assert sorted(found["__key__"].to_pylist()) == sorted(table["__key__"].to_pylist())
    assert read_rows(str(tmp_path), receipt, ["v"])["v"].to_pylist() == expected
    assert read_rows(str(tmp_path), receipt, ["__key__"]).column_names == ["__key__"]
    for columns in (None, ["v", "__key__"], ["v"]):
        parts = [*iter_rows(str(tmp_path), receipt, columns)]
        whole = read_rows(str(tmp_path), receipt, columns)
        batches = pa.concat_tables(parts) if parts else whole.slice(0, 0)
        assert batches.equals(whole)


def test_a_shard_without_files_is_damaged(tmp_path):
    with pytest.raises(DamagedFileError, match="files of rows"):
        read_rows(str(tmp_path), Receipt("00000", "h", 1, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([str(n) for n in range(MAX_PARTITIONS + 1)], "at most 1,000 values"),
        (["Cat", "cat"], "more than their case.* with Cat and cat.*another output"),
        (["x" * 250], "at most 200 characters"),
    ],
)
def test_values_that_are_no_folders_are_refused(tmp_path, values, message):
    with pytest.raises(RunStoppedError, match=message):  # no run with the column can end
        commit(tmp_path, values)
    assert not [*tmp_path.rglob("*.parquet")]


@pytest.mark.parametrize("name", ["a b", "", "ü", "a/b", "x=y", "1a", "a" * 101])
def test_names_of_columns_that_are_no_folders_are_refused(name):
    with pytest.raises(MmfeatError, match="--partition-by must name a column"):
        check_partition_column(name, pa.string())


@pytest.mark.parametrize("kind", [pa.float64(), pa.list_(pa.string()), pa.null()])
def test_types_of_columns_that_are_no_folders_are_refused(kind):
    with pytest.raises(MmfeatError, match="texts, whole numbers or truth values"):
        check_partition_column("v", kind)


def test_files_of_an_earlier_attempt_are_removed(tmp_path):
    commit(tmp_path, ["a", "b"])
    commit(tmp_path, ["a", "b"], shard="00001")
    remove_partitions(str(tmp_path), "data", "00000")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert left == ["data/v=a/00001.parquet", "data/v=b/00001.parquet"]


def test_files_of_other_shards_are_no_rows(tmp_path):
    _, _, receipt = commit(tmp_path, ["a"])
    info = next(iter(receipt.files.values()))
    receipt.files = {"data/v=a/00001.parquet": info}
    with pytest.raises(DamagedFileError, match="must list files of its rows"):
        read_rows(str(tmp_path), receipt)


def test_null_and_an_empty_text_share_a_partition(tmp_path):
    _, written, receipt = commit(tmp_path, ["a", "", None])
    assert len(receipt.files) == 2
    found = read_rows(str(tmp_path), receipt)
    assert found["__key__"].to_pylist() == written["__key__"].to_pylist()
    assert found["v"].to_pylist() == [None, None, "a"]


def test_a_type_that_the_value_does_not_have_is_damage(tmp_path, monkeypatch):
    monkeypatch.setitem(prediction_files._TYPES, "string", pa.int64())
    _, _, receipt = commit(tmp_path, ["a"])
    with pytest.raises(DamagedFileError, match="a type of its partition"):
        read_rows(str(tmp_path), receipt)


def test_a_partition_named_after_a_column_of_its_file_is_damage(tmp_path):
    _, _, receipt = commit(tmp_path, ["a"])
    (tmp_path / "data" / "__key__=a").mkdir()
    path = tmp_path / "data" / "v=a" / "00000.parquet"
    path.rename(tmp_path / "data" / "__key__=a" / "00000.parquet")
    receipt.files = {"data/__key__=a/00000.parquet": next(iter(receipt.files.values()))}
    with pytest.raises(DamagedFileError, match="must not have the column of its partition"):
        read_rows(str(tmp_path), receipt)


def test_partitions_of_different_columns_are_damage(tmp_path):
    _, _, receipt = commit(tmp_path, ["a", "b"])
    first, second = receipt.files
    (tmp_path / "data" / "w=3").mkdir()
    (tmp_path / second).rename(tmp_path / "data" / "w=3" / "00000.parquet")
    receipt.files = {
        first: receipt.files[first],
        "data/w=3/00000.parquet": receipt.files[second],
    }
    with pytest.raises(DamagedFileError, match="must have the same columns"):
        read_rows(str(tmp_path), receipt)
