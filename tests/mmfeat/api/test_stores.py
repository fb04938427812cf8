import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

import mmfeat
from mmfeat.errors import DamagedFileError, MmfeatError
from tests.conftest import picture_bytes


@pytest.mark.parametrize("name", ["shards", "features", "predictions"])
def test_a_store_gives_its_rows_as_tables_batches_and_records(stores, name):
    store = mmfeat.open(stores / name)
    table = store.to_arrow()
    assert len(store) == table.num_rows == 60
    assert table.column_names == store.column_names
    batches = list(store.batches(["__key__"], rows=10))
    assert max(batch.num_rows for batch in batches) == 10
    keys = pa.Table.from_batches(batches)["__key__"].to_pylist()
    assert keys == table["__key__"].to_pylist() == [record.key for record in store]
    assert list(store.to_pandas(["__key__"])["__key__"]) == keys
    assert store.to_polars(["__key__"])["__key__"].to_list() == keys
    record = store[keys[30]]
    assert record.key == keys[30]
    assert record.status == table["status"][30].as_py()
    assert keys[0] in store
    assert "nobody" not in store


def test_unknown_keys_and_columns_are_named(stores):
    features = mmfeat.open(stores / "features")
    with pytest.raises(KeyError, match="no record with the key 'p999'"):
        features["p999"]
    with pytest.raises(MmfeatError, match=r"lable.*Did you mean 'label'"):
        features.to_arrow(["lable"])
    with pytest.raises(MmfeatError, match="columns must be a list"):
        features.to_arrow("label")


def test_a_record_of_shards_has_its_picture_and_texts(stores):
    record = mmfeat.open(stores / "shards")["p008"]
    assert record["label"] == "dog"
    assert record.texts == {"text": "the big dog barks number 8"}
    assert set(record.members) == {"image", "text"}
    assert record.image.size == (24, 24)
    assert record.image.getpixel((0, 0))[:3] == (30, 8, 200)
    assert record.image_of("image.back") is None
    assert "data:image/jpeg" in record._repr_html_()


def test_a_record_of_features_has_vectors_or_none(stores):
    features = mmfeat.open(stores / "features")
    complete, partial = features["p008"], features["p007"]
    assert complete.features["text"].shape == (features.columns["text"].dim,)
    assert partial.features["text"] is None
    assert partial.features["image"] is not None
    table = features.to_arrow(["feature_image", "__key__"])
    row = table["__key__"].to_pylist().index("p008")
    np.testing.assert_array_equal(table["feature_image"][row].as_py(), complete.features["image"])


def test_predictions_have_the_copied_columns(stores):
    record = mmfeat.open(stores / "predictions")["p008"]
    assert record["prediction"] == "dog"
    assert str(record["price"]) == "8"


def test_texts_of_records_stay_text_in_notebooks(tmp_path):
    table = tmp_path / "raw" / "items.csv"
    table.parent.mkdir()
    table.write_text("id,text\na,<script>alert(1)</script>\n")
    shards = mmfeat.shard(table, tmp_path / "shards", key_column="id")
    page = shards["a"]._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_torch_dataset_splits_shards_over_workers(stores):
    dataset = mmfeat.open(stores / "features").torch_dataset(["label"])
    loader = DataLoader(dataset, batch_size=16, num_workers=2)
    items = list(loader)
    keys = [key for item in items for key in item["__key__"]]
    assert len(keys) == len(set(keys)) == len(dataset) == 60
    first = items[0]
    assert first["image"].shape == (16, mmfeat.open(stores / "features").columns["image"].dim)
    assert sum(int((~item["has_text"]).sum()) for item in items) == 1


def test_a_repr_is_short_and_says_what_the_store_is(stores):
    for name, words in {
        "shards": ["60", "image, text"],
        "features": ["column image", "column text"],
        "model": ["logistic", "cat, dog"],
        "predictions": ["60"],
    }.items():
        store = mmfeat.open(stores / name)
        text = repr(store)
        assert len(text.splitlines()) < 15
        assert all(word in text for word in [*words, str(stores / name)])
        assert store._repr_html_().startswith("<p><b>mmfeat ")


def test_replaced_rows_are_left_out(tmp_path):
    table = tmp_path / "raw" / "items.csv"
    table.parent.mkdir()
    table.write_text("file_name,text\na.png,red\nb.png,\n")
    (table.parent / "a.png").write_bytes(picture_bytes())
    mmfeat.shard(table, tmp_path / "shards")
    (table.parent / "b.png").write_bytes(picture_bytes())
    shards = mmfeat.shard(table, tmp_path / "shards", retry_failed=True)
    assert sorted((r.key, r.status) for r in shards) == [("a", "ok"), ("b", "partial")]
    assert sorted(shards.to_arrow()["__key__"].to_pylist()) == ["a", "b"]
    features = mmfeat.extract(tmp_path / "shards", tmp_path / "features")
    assert sorted(record.key for record in features) == ["a", "b"]
    assert len(features) == len(shards) == 2


def test_damaged_predictions_are_noticed(stores, tmp_path):
    shutil.copytree(stores / "predictions", tmp_path / "copy")
    path = tmp_path / "copy" / "data" / "00000.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"00000\.parquet"):
        mmfeat.open(tmp_path / "copy").to_arrow()


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_missing_package_is_an_error_with_its_name(stores, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    features = mmfeat.open(stores / "features")
    with pytest.raises(MmfeatError, match=f"pip install {package}"):
        getattr(features, f"to_{package}")(["__key__"])


def test_a_table_with_other_bytes_is_refused(stores, tmp_path):
    duplicates = mmfeat.dedup(stores / "features", tmp_path / "duplicates")
    rows = duplicates.to_arrow()
    assert pa.Table.from_batches(duplicates.batches(), rows.schema).equals(rows)
    path = tmp_path / "duplicates" / "duplicates.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        duplicates.to_arrow()
    with pytest.raises(DamagedFileError):
        next(duplicates.batches())
