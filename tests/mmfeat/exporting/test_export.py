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

import mmfeat
from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.exporting import ExportConfig, export_store
from mmfeat.exporting.formats import FORMATS, tables
from mmfeat.exporting.open_source import open_source
from mmfeat.storage import files
from mmfeat.verification import verify_store
from tests.training.stores import Records, write_store

ROWS, DIM = 23, 5


def make_records(rows=ROWS, tokens=False):
    rng = np.random.default_rng(0)
    present = np.arange(rows) % 4 != 1
    features = {name: rng.normal(size=(rows, DIM)).astype(np.float16) for name in ("image", "text")}
    if tokens:
        features["words"] = rng.normal(size=(rows, 3, DIM)).astype(np.float16)
    metadata = {
        "label": [None if i % 7 == 3 else f"ä <b>{i % 3}" for i in range(rows)],
        "size": list(range(rows)),
    }
    return Records(features, metadata, {"image": present})


@pytest.fixture
def store(tmp_path):
    return write_store(str(tmp_path / "features"), make_records(), shards=3)


def count_features(store, **columns):
    """Let the manifest count the features of columns, as `mmfeat extract` does."""
    path = Path(store, "manifest.json")
    manifest = files.read_json(str(path))
    totals = {key: value for key, value in manifest["totals"].items() if key != "columns"}
    manifest["totals"]["columns"] = {n: totals | {"out": out} for n, out in columns.items()}
    files.write_json(str(path), manifest)


def export(store, output, **options):
    return export_store(ExportConfig(str(store), str(output), **options))


def read_arrays(folder, name):
    return np.concatenate([np.load(path) for path in sorted(Path(folder, name).glob("*.npy"))])


def read_tables(folder):
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def file_bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


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


@pytest.mark.parametrize("name", FORMATS)
def test_a_killed_export_continues_and_ends_with_the_same_bytes(store, tmp_path, monkeypatch, name):
    export(store, tmp_path / "whole", format=name)
    write, calls = FORMATS[name].write, []

    def die(self, attempt, rows):
        calls.append(rows.shard)
        if len(calls) == 2:
            with attempt.create("image/half.npy") as output:
                output.write(b"half")
                raise KeyboardInterrupt
        return write(self, attempt, rows)

    with monkeypatch.context() as patch:
        patch.setattr(FORMATS[name], "write", die)
        with pytest.raises(KeyboardInterrupt):
            export(store, tmp_path / "out", format=name)
    assert not (tmp_path / "out" / "manifest.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            FORMATS[name],
            "write",
            lambda self, a, rows: calls.append(rows.shard) or write(self, a, rows),
        )
        export(store, tmp_path / "out", format=name)
    assert calls == ["00000", "00001", "00001", "00002"]
    whole, again = file_bytes(tmp_path / "whole"), file_bytes(tmp_path / "out")
    assert whole.keys() == again.keys()
    for path, content in whole.items():
        if not path.name.endswith(".json"):  # receipts have durations
            assert again[path] == content, path


def test_a_finished_export_is_kept_and_another_one_is_refused(store, tmp_path, capsys):
    export(store, tmp_path / "out")
    before = file_bytes(tmp_path / "out")
    export(store, tmp_path / "out")
    assert "nothing to do" in capsys.readouterr().out
    assert file_bytes(tmp_path / "out") == before
    with pytest.raises(MmfeatError, match=r"another configuration.*format.*another output"):
        export(store, tmp_path / "out", format="npy")


def test_a_damaged_shard_is_refused_and_the_export_is_not_finished(store, tmp_path):
    path = Path(store, "image", "00001.arrow")
    content = bytearray(path.read_bytes())
    content[-900] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="bytes of its receipt"):
        export(store, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": "imgae"}, "Did you mean 'image'"),
        ({"columns": ("labl",)}, "Did you mean 'label'"),
    ],
)
def test_a_mistyped_column_is_named(store, tmp_path, options, message):
    with pytest.raises(MmfeatError, match=message):
        export(store, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


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


def test_another_kind_of_store_is_refused(store, tmp_path):
    export(store, tmp_path / "out")
    with pytest.raises(MmfeatError, match=r"features or predictions.*'export'"):
        export(tmp_path / "out", tmp_path / "again")


def test_python_returns_the_export(store, tmp_path):
    made = mmfeat.export(store, tmp_path / "out", format="npy", modalities=["text"])
    assert {*made.files} == {
        f"{folder}/0000{shard}.{extension}"
        for shard in range(3)
        for folder, extension in (("text", "npy"), ("metadata", "parquet"))
    }
    assert made.facts == {"format": "npy", "records": ROWS, "exported": ROWS}
    assert isinstance(mmfeat.open(tmp_path / "out"), type(made))


def test_memory_holds_one_shard(tmp_path):
    """The peak with eight times as many shards is that with two."""
    import tracemalloc

    peaks = []
    for shards in (2, 16):
        rows = 2000 * shards
        features = np.ones((rows, 64), np.float16)
        store = write_store(str(tmp_path / f"{shards}"), Records({"image": features}, {}), shards)
        tracemalloc.start()
        export(store, tmp_path / f"out-{shards}", dtype="float16")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


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
