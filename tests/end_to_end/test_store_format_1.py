"""Stores of format 1, in which receipts lie beside the rows, are read and continued for good.

`tests/data/format_1` has stores that a version of format 1 has written. Its files never change.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mmfeat.features.store import FeatureStore

FROZEN = Path(__file__).parents[1] / "data" / "format_1"
SHA256 = "b9fc2adf3adee246921db9a3ca09b8f815dd4da5d75701550087e83f06a996a4"
"""Of the names and contents of all frozen files."""

FROZEN_ENTRIES = {name for path in FROZEN.rglob("*.json") for name in json.loads(path.read_bytes())}
"""Names of entries in the frozen JSON files."""

COMMANDS = {
    "shard": ("shard", "records.csv", "shards", "--samples-per-shard", 4, "--key-column", "id"),
    "extract": ("extract", "shards", "features", "--encoder", "text=builtin:text?dim=64"),
    "score": ("score", "model", "features", "predictions"),
}


def read_files(folder):
    """Return name → content of all files, JSON without what may differ.

    Processors round probabilities differently: prediction tables are lists with tolerances.
    """
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            value = json.loads(path.read_bytes())
            # Later versions add entries to receipts, and count totals of features otherwise.
            known = FROZEN_ENTRIES - {"seconds", "totals"}
            value = {name: item for name, item in value.items() if name in known}
            for recorded in value.get("files", {}).values():
                recorded.pop("xxh3_128", None)
            if path.parent.name == "predictions" and "files" in value:
                value["files"] = [*value["files"]]
            contents[str(path.relative_to(folder))] = value
        elif path.parent.name == "predictions":
            table = pq.read_table(path)
            contents[str(path.relative_to(folder))] = (
                str(table.schema),
                approximate_columns(table),
            )
        elif path.is_file():
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return contents


def approximate_columns(table):
    """Return the columns as lists, in which close numbers are equal."""
    columns = table.to_pydict()
    for name in table.column_names:
        if pa.types.is_floating(table.schema.field(name).type):
            columns[name] = [
                None if value is None else pytest.approx(value, rel=1e-5) for value in columns[name]
            ]
    return columns


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the frozen stores, as the working directory: their paths are relative."""
    shutil.copytree(FROZEN, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def test_the_frozen_files_have_not_changed():
    sha256 = hashlib.sha256()
    for path in sorted(path for path in FROZEN.rglob("*") if path.is_file()):
        sha256.update(path.relative_to(FROZEN).as_posix().encode() + b"\0" + path.read_bytes())
    assert sha256.hexdigest() == SHA256


def test_features_are_read_as_they_are_on_disk(old):
    store = FeatureStore("features")
    assert store.shards == {"00000": 4, "00001": 4}
    keys = set()
    for shard in store.shards:
        samples = pq.read_table(old / "features" / "samples" / f"{shard}.parquet")
        assert store.read_samples(shard).equals(samples)
        keys |= {*samples["__key__"].to_pylist()}
        for name, dtype in (("text", np.float16), ("exact", np.float32)):
            with pa.memory_map(str(old / "features" / name / f"{shard}.arrow")) as file:
                table = pa.ipc.open_file(file).read_all()
            column = store.read_column(name, shard)
            values = table["feature"].combine_chunks().storage.values.to_numpy()
            assert (column.features.dtype, column.features.tobytes()) == (dtype, values.tobytes())
            assert column.present.tolist() == table["feature"].is_valid().to_pylist()
            assert column.reasons.to_pylist() == table["reason"].to_pylist()
    assert keys == {"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_finished_store_has_nothing_to_do(old, mmfeat, command):
    result = mmfeat(*COMMANDS[command])
    assert result.returncode == 0, result.stderr
    assert "nothing to do" in result.stdout
    assert read_files(old) == read_files(FROZEN)


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        ("score", ["predictions/00001.parquet"]),
        ("score", ["predictions/00001_stats.json", "predictions/manifest.json"]),
        ("extract", ["features/text/00001.arrow", "features/manifest.json"]),
        ("extract", ["features/samples/00000_stats.json"]),
        ("extract", ["features/samples/00001.parquet", "features/text/00000_stats.json"]),
    ],
)
def test_an_unfinished_store_is_continued_in_its_format(old, mmfeat, command, lost):
    for name in lost:
        (old / name).unlink()
    flags = ("--encoder", "exact:text=builtin:text?dim=64&dtype=float32")
    result = mmfeat(*COMMANDS[command], *(flags if command == "extract" else ()))
    assert result.returncode == 0, result.stderr
    assert read_files(old) == read_files(FROZEN)


def test_a_column_is_added_in_the_format_of_the_store(old, mmfeat):
    assert mmfeat(*COMMANDS["extract"], "--encoder", "more:text=builtin:text").returncode == 0
    assert {path.name for path in (old / "features" / "more").iterdir()} == {
        *("00000.arrow", "00001.arrow", "00000_stats.json", "00001_stats.json", "column.json")
    }
    assert not (old / "features" / "columns").exists()
    store = FeatureStore("features")
    assert store.manifest["format"] == 1
    assert {*store.columns} == {"text", "exact", "more"}


def test_old_features_are_scored_into_a_store_of_the_newest_format(old, mmfeat):
    result = mmfeat("score", "model", "features", "new", "--columns", "sku,label")
    assert result.returncode == 0, result.stderr
    rows = ds.dataset(old / "new" / "data").to_table()
    before = ds.dataset(sorted(map(str, (old / "predictions").glob("*.parquet")))).to_table()
    assert rows.column_names == [*before.column_names, "sku", "label"]
    for row, expected in zip(rows.to_pylist(), before.to_pylist(), strict=True):
        assert row["__key__"] == expected["__key__"]
        for name, value in expected.items():
            assert row[name] == (pytest.approx(value) if isinstance(value, float) else value)
        assert row["sku"][0] == {"red": "K", "blue": "B"}[row["label"]]


def test_old_models_and_stores_serve_every_command(old, mmfeat):
    for folder in ("shards", "features", "model", "predictions"):
        facts = json.loads(mmfeat("info", folder, "--json").stdout)
        assert (facts["finished"], facts["format"], facts["failed_shards"]) == (True, 1, {})
    evaluation = mmfeat("evaluate", "model", "features", "--split", "all", "--json")
    assert json.loads(evaluation.stdout)["rows"] == 7
    assert mmfeat("report", "model").returncode == 0
    page = (old / "model" / "report.html").read_text("utf-8")
    assert "a red door in the rain" in page  # from the shards, found through the receipts
    flags = ("--target", "label", "--split-column", "split", "--epochs", 1, "--hidden", 4)
    result = mmfeat("train", "features", "new", *flags, "--lr", 0.003)
    assert result.returncode == 0, result.stderr
