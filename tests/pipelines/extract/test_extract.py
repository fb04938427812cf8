import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.features.store import FeatureStore
from mmfeat.storage import files
from mmfeat.store import read_failures
from mmfeat.store.manifest import MANIFEST_FILE
from tests.faults import kill, wait_for


def data_files(folder):
    paths = [*Path(folder).rglob("*.arrow"), *Path(folder).rglob("*.parquet")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(paths)}


@pytest.fixture
def shards(mmfeat, toy_table, tmp_path):
    (toy_table.parent / "p007.png").write_bytes((toy_table.parent / "p007.png").read_bytes()[:50])
    (toy_table.parent / "p008.png").unlink()
    out = tmp_path / "shards"
    assert mmfeat("shard", toy_table, out, "--samples-per-shard", "25").returncode == 0
    return out


@pytest.fixture
def features(mmfeat, shards, tmp_path):
    result = mmfeat("extract", shards, tmp_path / "features")
    assert result.returncode == 0, result.stderr
    return tmp_path / "features"


def test_every_modality_has_a_column_and_every_record_a_row(features):
    store = FeatureStore(str(features))
    assert set(store.columns) == {"image", "text"}
    assert store.shards == {"00000": 25, "00001": 25, "00002": 10}
    image_reasons = {}
    for shard in store.shards:
        keys = store.read_samples(shard)["__key__"].to_pylist()
        image, text = store.read_column("image", shard), store.read_column("text", shard)
        assert len(keys) == len(image.features) == len(text.features)
        image_reasons |= dict(zip(keys, image.reasons.to_pylist(), strict=True))
        assert text.present.all()
        assert np.isfinite(image.features).all()
    assert {key: reason for key, reason in image_reasons.items() if reason} == {
        "p007": "undecodable",
        "p008": "not_found",
    }
    totals = store.manifest["totals"]
    assert totals["columns"]["image"]["out"] == 58
    assert totals["columns"]["image"]["rejected"] == {"not_found": 1, "undecodable": 1}


def test_the_account_of_records_agrees_with_that_of_columns(mmfeat, shards, tmp_path):
    """One image is missing in the shards, another one cannot be decoded."""
    result = mmfeat("extract", shards, tmp_path / "features")
    cells = [re.split(r"\s*│\s*", line.strip("│ ")) for line in result.stdout.splitlines()]
    lines = dict(pair for pair in cells if len(pair) == 2)
    assert (lines["in"], lines["out"], lines["rejected"]) == ("60", "60", "0")
    assert lines["partial (out, but lack a part)"] == "2"
    for reason in ("undecodable", "not_found"):
        assert lines[f"image:{reason}"] == lines[f"no image: {reason}"] == "1"
    totals = FeatureStore(str(tmp_path / "features")).manifest["totals"]
    assert totals["status"] == {"ok": 58, "partial": 2}
    mmfeat("extract", shards, tmp_path / "images", "--encoder", "image=builtin:image")
    totals = FeatureStore(str(tmp_path / "images")).manifest["totals"]
    assert (totals["records"], totals["out"]) == (60, 58)
    assert totals["rejected"] == {"image:not_found": 1, "image:undecodable": 1}


def test_the_features_do_not_depend_on_the_number_of_processes(mmfeat, shards, features, tmp_path):
    result = mmfeat("extract", shards, tmp_path / "parallel", "--processes", 2)
    assert result.returncode == 0, result.stderr
    assert "largest worker" in result.stdout
    assert data_files(tmp_path / "parallel") == data_files(features)


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ((), (0, 1000)),
        (("text=builtin:text",), (0, 10_000)),
        (("text=builtin:text", "words:text=embedding:{vectors}"), (1, 10_000)),
    ],
)
def test_encoders_of_one_core_run_on_all_cores(shards, tmp_path, encoders, expected):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("apple 1 0\nsteel 0 1\n")
    flags = tuple(flag.format(vectors=vectors) for flag in encoders)
    stage = Extraction(ExtractConfig(str(shards), str(tmp_path / "out"), encoder=flags))
    stage.plan()
    assert (stage.max_processes, stage.min_parallel_records) == expected


def test_the_samples_table_has_the_metadata(features):
    table = pq.read_table(features / "samples" / "00000.parquet")
    assert {"__key__", "status", "reason", "error", "label", "split"} <= set(table.schema.names)


def test_only_missing_columns_are_computed(mmfeat, shards, features, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in features.rglob("*") if p.is_file()}
    again = mmfeat("extract", shards, features)
    assert "nothing to do" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in features.rglob("*") if p.is_file()} == before
    added = mmfeat("extract", shards, features, "--encoder", "caption=builtin:text")
    assert added.returncode == 0, added.stderr
    assert set(FeatureStore(str(features)).columns) == {"image", "text", "caption"}
    for path, modified in before.items():
        if path.name != MANIFEST_FILE:
            assert path.stat().st_mtime_ns == modified
    assert (features / "caption/00000.arrow").read_bytes() == (
        features / "text/00000.arrow"
    ).read_bytes()


def test_another_encoder_for_an_existing_column_is_refused(mmfeat, shards, features):
    result = mmfeat("extract", shards, features, "--encoder", "image:text=builtin:text")
    assert result.returncode == 1
    assert "fingerprint" in result.stderr
    assert FeatureStore(str(features)).columns["image"].modality == "image"


def test_features_of_other_shards_are_refused(mmfeat, shards, features, make_table, tmp_path):
    table = make_table([{"file_name": "x.png", "text": "other"}], name="other/t.csv")
    mmfeat("shard", table, tmp_path / "other_shards")
    result = mmfeat("extract", tmp_path / "other_shards", features)
    assert result.returncode == 1
    assert "was made with another configuration" in result.stderr


def test_a_changed_shard_is_refused(mmfeat, shards, features):
    path = str(shards / "manifest.json")
    manifest = files.read_json(path)
    for shard in manifest["shards"]:
        shard["sha256"] = shard["sha256"][::-1]
    files.write_json(path, manifest)
    result = mmfeat("extract", shards, features)
    assert result.returncode == 1
    assert "was made from other bytes" in result.stderr


def test_features_do_not_depend_on_batches_and_threads(mmfeat, shards, features, tmp_path):
    options = ("--batch-size", "7", "--threads", "1")
    mmfeat("extract", shards, tmp_path / "other", *options)
    for shard in ("00000", "00001", "00002"):
        for column in ("image", "text"):
            first, second = (
                FeatureStore(str(folder)).read_column(column, shard).features
                for folder in (features, tmp_path / "other")
            )
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("image", "COLUMN:MODALITY=SCHEME:NAME; got 'image'"),
        ("image=builtin:imag", "Did you mean builtin:image"),
        ("samples=builtin:text", "must not be called 'samples'"),
        ("text=builtin:text?nonsense=1", "has no such option; got 'nonsense'"),
    ],
)
def test_a_wrong_encoder_is_one_error_line(mmfeat, shards, tmp_path, encoder, message):
    result = mmfeat("extract", shards, tmp_path / "out", "--encoder", encoder)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_modality_missing_in_the_shards_is_refused(mmfeat, make_table, tmp_path):
    mmfeat("shard", make_table([{"text": "only words"}]), tmp_path / "shards")
    result = mmfeat(
        "extract", tmp_path / "shards", tmp_path / "out", "--encoder", "i=builtin:image"
    )
    assert "column i needs image" in result.stderr


def test_a_failed_shard_is_reported_and_retried(mmfeat, shards, tmp_path, monkeypatch):
    from mmfeat.extraction.stage import Extraction

    def broken(self, task, loaded):
        raise RuntimeError("a bad moment")

    with monkeypatch.context() as patch:
        patch.setattr(Extraction, "process", broken)
        result = mmfeat("extract", shards, tmp_path / "out")
    assert result.returncode == 1
    assert "a bad moment" in result.stderr
    assert len(read_failures(str(tmp_path / "out"))) == 3
    assert mmfeat("extract", shards, tmp_path / "out").returncode == 0
    assert read_failures(str(tmp_path / "out")) == {}


def test_a_storewithout_features_is_an_error(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": "x.png"}])
    (table.parent / "x.png").write_bytes((table.parent / "x.png").read_bytes()[:50])
    mmfeat("shard", table, tmp_path / "shards")
    result = mmfeat("extract", tmp_path / "shards", tmp_path / "out")
    assert result.returncode == 1
    assert "no record of" in result.stderr
    assert "undecodable 1" in result.stderr


def test_a_killed_run_resumes_to_the_same_features(mmfeat, mmfeat_process, make_table, tmp_path):
    table = make_table([{"file_name": f"{i:04}.png", "text": f"t{i}"} for i in range(300)])
    mmfeat("shard", table, tmp_path / "shards", "--samples-per-shard", "10")
    mmfeat("extract", tmp_path / "shards", tmp_path / "whole")
    for receipts in (1, 9):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        process = mmfeat_process("extract", tmp_path / "shards", tmp_path / "out")
        receipt = tmp_path / "out" / "columns" / "image" / f"{receipts:05}_stats.json"
        wait_for(process, receipt.exists)
        kill(process)
        assert mmfeat("extract", tmp_path / "shards", tmp_path / "out").returncode == 0
        assert data_files(tmp_path / "out") == data_files(tmp_path / "whole")
