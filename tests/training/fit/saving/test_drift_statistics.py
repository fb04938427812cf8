"""Statistics of training rows are those of the rows, and models have them."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmfeat.cli import main
from mmfeat.drift import STATISTICS, read_statistics
from mmfeat.features import FeatureStore
from tests.training.stores import write_store, xor_records
from training.fit.saving.drift_statistics import _spread, compute_statistics

TRAIN = ("--target", "label", "--fusion", "gmu", "--epochs", "1", "--hidden", "8", "--lr", "0.003")


@pytest.fixture
def store(tmp_path: Path) -> tuple[FeatureStore, dict[str, np.ndarray]]:
    records = xor_records(300)
    write_store(str(tmp_path / "features"), records)
    return FeatureStore(str(tmp_path / "features")), records.features


def test_statistics_are_those_of_the_rows(store):
    features, _ = store
    rows = np.arange(0, features.records, 2)
    found = compute_statistics(features, list(features.columns.values()), rows)
    for name, statistics in found.items():
        parts = [features.read_column(name, shard) for shard in features.shards]
        vectors = np.concatenate([part.features for part in parts]).astype(np.float32)[rows]
        present = np.concatenate([part.present for part in parts])[rows]
        assert (statistics.rows, statistics.present) == (len(rows), present.sum())
        assert np.allclose(statistics.mean, vectors[present].mean(axis=0), atol=1e-6)
        assert (statistics.counts.sum(axis=1) == present.sum()).all()


def test_a_model_has_the_statistics_of_its_training_rows(store, tmp_path):
    assert main.main(["train", f"{tmp_path}/features", f"{tmp_path}/model", *TRAIN]) == 0
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_bytes())
    assert STATISTICS in manifest["files"]
    dims = {name: column.dim for name, column in store[0].columns.items()}
    found = read_statistics(f"{tmp_path}/model", manifest, dims)
    assert {*found} == {*dims}
    assert {s.rows for s in found.values()} == {manifest["rows"]["train"]}


def test_values_are_spread_evenly():
    assert _spread(np.arange(10), 20).tolist() == [*range(10)]
    assert _spread(np.arange(10), 5).tolist() == [0, 2, 4, 6, 8]
