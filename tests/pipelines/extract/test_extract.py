import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmfeat.features.store import FeatureStore
from mmfeat.store.directory import MANIFEST, read_failures


def data_of(folder):
    files = [*Path(folder).rglob("*.arrow"), *Path(folder).rglob("*.parquet")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(files)}


@pytest.fixture
def shards(mmfeat, toy_table, tmp_path):
    (toy_table.parent / "p007.png").write_bytes((toy_table.parent / "p007.png").read_bytes()[:50])
    (toy_table.parent / "p008.png").unlink()
    assert (
        mmfeat("shard", toy_table, tmp_path / "shards", "--samples-per-shard", "25").returncode == 0
    )
    return tmp_path / "shards"


@pytest.fixture
def features(mmfeat, shards, tmp_path):
    result = mmfeat("extract", shards, tmp_path / "features")
    assert result.returncode == 0, result.stderr
    return tmp_path / "features"


def test_every_modality_gets_its_built_in_encoder_and_every_record_a_row(features):
    store_ = FeatureStore(str(features))
    assert set(store_.columns) == {"image", "text"}
    assert store_.shards == {"00000": 25, "00001": 25, "00002": 10}
    outcome = {}
    for shard in store_.shards:
        keys = store_.read_samples(shard)["__key__"].to_pylist()
        image, text = store_.read_column("image", shard), store_.read_column("text", shard)
        assert len(keys) == len(image.features) == len(text.features)
        outcome |= dict(zip(keys, image.reasons.to_pylist(), strict=True))
        assert text.present.all()
        assert np.isfinite(image.features).all()
    assert {key: reason for key, reason in outcome.items() if reason} == {
        "p007": "undecodable",
        "p008": "not_found",
    }
    totals = store_.manifest["totals"]
    assert totals["columns"]["image"]["out"] == 58
    assert totals["columns"]["image"]["rejected"] == {"not_found": 1, "undecodable": 1}


def test_samples_hold_the_metadata_of_the_input(features):
    table = pq.read_table(features / "samples" / "00000.parquet")
    assert {"__key__", "status", "reason", "error", "label", "split"} <= set(table.schema.names)


def test_a_second_run_does_nothing_and_another_column_computes_that_column_only(
    mmfeat, shards, features, tmp_path
):
    before = {p: p.stat().st_mtime_ns for p in features.rglob("*") if p.is_file()}
    again = mmfeat("extract", shards, features)
    assert "nothing to do" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in features.rglob("*") if p.is_file()} == before
    added = mmfeat("extract", shards, features, "--encoder", "caption=builtin:text")
    assert added.returncode == 0, added.stderr
    assert set(FeatureStore(str(features)).columns) == {"image", "text", "caption"}
    for path, modified in before.items():
        if path.name != MANIFEST:
            assert path.stat().st_mtime_ns == modified
    assert (features / "caption/00000.arrow").read_bytes() == (
        features / "text/00000.arrow"
    ).read_bytes()


def test_a_changed_encoder_under_an_old_column_name_is_refused(mmfeat, shards, features):
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


def test_a_shard_whose_bytes_changed_is_refused_and_not_mixed_in(mmfeat, shards, features):
    receipt = shards / "manifest.json"
    receipt.write_text(receipt.read_text().replace('"sha256": "', '"sha256": "0'))
    result = mmfeat("extract", shards, features)
    assert result.returncode == 1
    assert "was made from other bytes" in result.stderr


def test_a_damaged_tar_costs_its_own_records_and_no_others(mmfeat, shards, tmp_path):
    tar = shards / "00001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    result = mmfeat("extract", shards, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    store_ = FeatureStore(str(tmp_path / "out"))
    assert store_.records == 60
    text = store_.manifest["totals"]["columns"]["text"]
    assert text["out"] + text["rejected"]["damaged_shard"] == 60
    assert 5 < text["rejected"]["damaged_shard"] < 20


def test_the_features_do_not_depend_on_batches_and_threads(mmfeat, shards, features, tmp_path):
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
def test_an_encoder_that_does_not_exist_is_one_clear_error(
    mmfeat, shards, tmp_path, encoder, message
):
    result = mmfeat("extract", shards, tmp_path / "out", "--encoder", encoder)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_modality_the_shards_lack_is_refused(mmfeat, make_table, tmp_path):
    mmfeat("shard", make_table([{"text": "only words"}]), tmp_path / "shards")
    result = mmfeat(
        "extract", tmp_path / "shards", tmp_path / "out", "--encoder", "i=builtin:image"
    )
    assert "column i needs image" in result.stderr


def test_a_shard_that_failed_is_told_with_its_reason_and_forgotten_once_made(
    mmfeat, shards, tmp_path, monkeypatch
):
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


def test_no_feature_at_all_is_an_error(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": "x.png"}])
    (table.parent / "x.png").write_bytes((table.parent / "x.png").read_bytes()[:50])
    mmfeat("shard", table, tmp_path / "shards")
    result = mmfeat("extract", tmp_path / "shards", tmp_path / "out")
    assert result.returncode == 1
    assert "no record of" in result.stderr
    assert "undecodable 1" in result.stderr


def test_killed_and_run_again_the_features_are_the_same(
    mmfeat, mmfeat_process, make_table, tmp_path
):
    table = make_table([{"file_name": f"{i:04}.png", "text": f"t{i}"} for i in range(300)])
    mmfeat("shard", table, tmp_path / "shards", "--samples-per-shard", "10")
    mmfeat("extract", tmp_path / "shards", tmp_path / "whole")
    for receipts in (1, 9):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        process = mmfeat_process("extract", tmp_path / "shards", tmp_path / "out")
        wanted = tmp_path / "out" / "image" / f"{receipts:05}_stats.json"
        while process.poll() is None and not wanted.exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert mmfeat("extract", tmp_path / "shards", tmp_path / "out").returncode == 0
        assert data_of(tmp_path / "out") == data_of(tmp_path / "whole")
