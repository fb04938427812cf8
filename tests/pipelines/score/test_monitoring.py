"""Histograms of predictions, and drift of the features."""

import json

import numpy as np
import pytest

from mmfeat.api import open_store
from mmfeat.features import FeatureStore
from tests.faults import assert_one_error
from tests.pipelines.score.conftest import read
from tests.training.stores import write_store, xor_records


def test_monitoring_counts_what_is_predicted(scored):
    monitoring = open_store(str(scored / "predictions")).manifest["monitoring"]
    rows = read(scored / "predictions").to_pylist()
    predicted = [row["prediction"] for row in rows if row["prediction"]]
    counts = monitoring["models"]["model"]
    assert counts["scored"] == len(predicted) == 38
    assert counts["classes"] == {label: predicted.count(label) for label in {*predicted}}
    expected = np.histogram([r["probability"] for r in rows if r["prediction"]], 20, (0, 1))[0]
    assert counts["confidence"] == expected.tolist()
    assert monitoring["missing"] == {"image": 0.05, "text": 0.05}
    assert monitoring["drift"]["image"]["missing"] == pytest.approx(0.05, abs=1e-6)
    page = (scored / "predictions" / "report.html").read_text()
    for word in ("Drift of the features", "stability index", "Predicted classes", "Confidence"):
        assert word in page
    versions = open_store(str(scored / "predictions")).manifest["versions"]
    assert {*versions} == {"numpy", "pyarrow", "torch"}


@pytest.fixture
def drifting(mmfeat, tmp_path):
    """A model, and features of four shards, of which the last three are shifted."""
    records = xor_records(4000)
    write_store(str(tmp_path / "features"), records)
    train = ("--target", "label", "--fusion", "gmu", "--epochs", 1, "--hidden", 8, "--lr", 0.003)
    assert mmfeat("train", tmp_path / "features", tmp_path / "model", *train).returncode == 0
    records.features["image"][1000:] += np.float16(3)
    write_store(str(tmp_path / "shifted"), records)
    return tmp_path


def test_drift_stops_a_run_and_keeps_what_is_committed(drifting, mmfeat):
    paths = [drifting / name for name in ("model", "shifted", "out")]
    line = assert_one_error(mmfeat("score", *paths, "--max-drift", 0.25))
    assert "the population stability index of the column image must be at most 0.25" in line
    assert not (drifting / "out" / "manifest.json").exists()
    kept = sorted(path.name for path in (drifting / "out" / "data").iterdir())
    again = assert_one_error(mmfeat("score", *paths, "--max-drift", 0.25))
    assert "population stability index" in again
    assert sorted(path.name for path in (drifting / "out" / "data").iterdir()) == kept
    result = mmfeat("score", *paths, "--max-drift", 1000)  # the limit is no part of the result
    assert result.returncode == 0, result.stderr
    assert "drift of image" in result.stdout
    drift = json.loads((drifting / "out" / "manifest.json").read_bytes())["monitoring"]["drift"]
    assert drift["image"]["psi"] > 0.25 > 0.1 > drift["text"]["psi"]


def test_drift_of_few_records_is_not_judged(drifting, mmfeat):
    store = FeatureStore(str(drifting / "shifted"))
    shifted = store.read_keys([*store.shards][1]).to_pylist()
    flags = ("--max-drift", 0.25, "--keys", drifting / "keys.txt")
    (drifting / "keys.txt").write_text("\n".join(shifted[:200]))
    paths = [drifting / name for name in ("model", "shifted", "few")]
    result = mmfeat("score", *paths, *flags)
    assert result.returncode == 0, result.stderr
    assert "drift not judged" in result.stdout
    assert "image 200" in result.stdout
    drift = json.loads((drifting / "few" / "manifest.json").read_bytes())["monitoring"]["drift"]
    assert drift["image"]["judged"] is False
    (drifting / "keys.txt").write_text("\n".join(shifted[:600]))
    line = assert_one_error(mmfeat("score", *paths[:2], drifting / "more", *flags))
    assert "population stability index" in line


def test_no_drift_is_no_error(drifting, mmfeat):
    paths = [drifting / name for name in ("model", "features", "out")]
    assert mmfeat("score", *paths, "--max-drift", 0.1).returncode == 0
