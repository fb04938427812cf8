import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.exporting.formats import FORMATS, tables
from mmfeat.storage import files
from mmfeat.verification import verify_store
from tests.mmfeat.exporting.exports import ROWS, export, make_records, read_arrays, read_tables
from tests.training.stores import Records, write_store


def count_features(store, **columns):
    """Let the manifest count the features of columns, as `mmfeat extract` does."""
    path = Path(store, "manifest.json")
    manifest = files.read_json(str(path))
    totals = {key: value for key, value in manifest["totals"].items() if key != "columns"}
    manifest["totals"]["columns"] = {n: totals | {"out": out} for n, out in columns.items()}
    files.write_json(str(path), manifest)


def test_arrays_hold_the_records_that_have_all_columns_and_the_rest_is_counted(store, tmp_path):
    manifest = export(store, tmp_path / "out", format="npy")
    records = make_records()
    kept = records.present["image"]
    keys = read_tables(tmp_path / "out" / "metadata")["__key__"].to_pylist()
    assert keys == [f"key-{row:06d}" for row in np.flatnonzero(kept)]
    for name in ("image", "text"):
        np.testing.assert_array_equal(
            read_arrays(tmp_path / "out", name), records.features[name][kept]
        )
    totals = manifest["totals"]
    assert (totals["records"], totals["out"]) == (ROWS, kept.sum())
    assert totals["rejected"] == {"image:missing": ROWS - kept.sum()}


def test_one_column_keeps_every_record_that_has_it(store, tmp_path):
    manifest = export(store, tmp_path / "out", format="npy", modalities="text", dtype="float32")
    assert manifest["totals"]["rejected"] == {}
    array = read_arrays(tmp_path / "out", "text")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, make_records().features["text"].astype(np.float32))
    assert not (tmp_path / "out" / "image").exists()


def test_clip_retrieval_has_its_folders_and_a_path_for_each_row(store, tmp_path):
    export(store, tmp_path / "out", format="clip-retrieval")
    table = read_tables(tmp_path / "out" / "metadata")
    assert table["image_path"].to_pylist() == table["__key__"].to_pylist()
    for folder in ("img_emb", "text_emb"):
        assert len(read_arrays(tmp_path / "out", folder)) == len(table)


def test_parquet_keeps_every_row_with_null_for_a_missing_vector(store, tmp_path):
    count_features(store, image=17, text=ROWS)
    export(store, tmp_path / "out", format="parquet", columns=("label,size",))
    table = read_tables(tmp_path / "out" / "data")
    assert table.column_names == ["__key__", "label", "size", "feature_image", "feature_text"]
    assert table["feature_image"].is_valid().to_pylist() == [*make_records().present["image"]]
    assert table["label"].to_pylist() == make_records().metadata["label"]
    assert pa.types.is_fixed_size_list(table.schema.field("feature_text").type)


def test_a_manifest_that_counts_too_many_features_is_refused(store, tmp_path):
    count_features(store, image=ROWS, text=ROWS)
    with pytest.raises(DamagedFileError, match=r"must have a feature of image.* without"):
        export(store, tmp_path / "out")


def test_a_column_of_vectors_does_not_hide_one_of_the_samples_table(tmp_path):
    records = make_records()
    records.metadata["feature_text"] = ["mine"] * ROWS
    write_store(str(tmp_path / "features"), records)
    export(tmp_path / "features", tmp_path / "out")
    table = read_tables(tmp_path / "out" / "data")
    assert table["feature_text"].to_pylist() == ["mine"] * ROWS
    assert "meta_feature_text" in table.column_names


def test_tars_hold_one_sample_per_record(store, tmp_path):
    export(store, tmp_path / "out", format="webdataset")
    members = {}
    for path in sorted((tmp_path / "out" / "data").glob("*.tar")):
        with tarfile.open(path) as tar:
            members |= {m.name: tar.extractfile(m).read() for m in tar}
    records = make_records()
    for row in range(ROWS):
        key = f"key-{row:06d}"
        assert json.loads(members[f"{key}.json"])["label"] == records.metadata["label"][row]
        assert (f"{key}.image.npy" in members) == records.present["image"][row]
        vector = np.load(io.BytesIO(members[f"{key}.text.npy"]), allow_pickle=False)
        np.testing.assert_array_equal(vector, records.features["text"][row])


def test_token_columns_go_into_tables_and_tars_and_not_into_arrays(tmp_path):
    records = make_records(tokens=True)
    store = write_store(str(tmp_path / "features"), records)
    export(store, tmp_path / "parquet")
    lists = read_tables(tmp_path / "parquet" / "data")["feature_words"].to_pylist()
    counts = [1 + row % 3 for row in range(ROWS)]
    assert [len(tokens) for tokens in lists] == counts
    np.testing.assert_array_equal(
        np.array(lists[5][2], np.float16), records.features["words"][5, 2]
    )
    export(store, tmp_path / "npy", format="npy")
    assert not (tmp_path / "npy" / "words").exists()
    with pytest.raises(MmfeatError, match=r"one vector per record.*'words'.*parquet"):
        export(store, tmp_path / "no", format="npy", modalities="words")
    assert not (tmp_path / "no").exists()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_format_gives_back_every_vector_with_its_key(data, tmp_path_factory):
    """What goes in comes out, for any number of rows and shards and any missing vectors."""
    rows = data.draw(st.integers(1, 12))
    shards = data.draw(st.integers(1, min(4, rows)))
    values = data.draw(
        st.lists(st.floats(-100, 100, width=16), min_size=2 * rows, max_size=2 * rows)
    )
    present = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    features = np.array(values, np.float16).reshape(rows, 2)
    expected = {f"key-{i:06d}": features[i].tolist() for i in range(rows) if present[i]}
    folder = tmp_path_factory.mktemp("export")
    texts = data.draw(st.lists(st.text(max_size=5), min_size=rows, max_size=rows))
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    write_store(
        str(folder / "features"),
        Records({"image": features}, {"note": texts}, {"image": np.array(present)}),
        shards,
    )
    for name in FORMATS:
        if not any(present) and name in ("npy", "clip-retrieval"):
            with pytest.raises(MmfeatError, match="none of the"):
                export(folder / "features", folder / name, format=name)
            assert not (folder / name / "config.json").exists()
            continue
        export(folder / "features", folder / name, format=name)
        assert read_back(folder / name, name) == expected, name
        assert not verify_store(str(folder / name)).all_damages


def read_back(folder, name):
    """Return key → vector of an export of one column."""
    if name in ("npy", "clip-retrieval"):
        keys = read_tables(folder / "metadata")["__key__"].to_pylist()
        arrays = read_arrays(folder, "image" if name == "npy" else "img_emb")
        return dict(zip(keys, arrays.tolist(), strict=True))
    if name == "webdataset":
        found = {}
        for path in sorted((folder / "data").glob("*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    key, _, extension = member.name.partition(".")
                    if extension == "image.npy":
                        found[key] = np.load(io.BytesIO(tar.extractfile(member).read())).tolist()
        return found
    table = read_tables(folder / "data").to_pylist()
    return {row["__key__"]: row["feature_image"] for row in table if row["feature_image"]}


def test_row_groups_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_ROW_GROUP_BYTES", 1)
    store = write_store(
        str(tmp_path / "features"), Records({"image": np.ones((2500, 2), np.float16)}, {}), 1
    )
    export(store, tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out" / "data" / "00000.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [
        1024,
        1024,
        452,
    ]
