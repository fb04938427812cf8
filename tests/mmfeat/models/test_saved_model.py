"""A loaded model equals the saved one, or loading fails."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfeat.errors import MmfeatError
from mmfeat.features.column_format import Column
from mmfeat.models.architecture import Architecture
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.inference import predict
from mmfeat.models.saved_model import WEIGHTS, load_model, save_weights
from mmfeat.store.directory import open_run
from mmfeat.store.manifest import write_manifest

COLUMNS = [Column("image", "image", 4, "aaa", {}), Column("text", "text", 3, "bbb", {})]


def save_model(folder: str) -> FusionModel:
    """Write a finished model with random weights."""
    torch.manual_seed(0)
    dims = {column.name: column.dim for column in COLUMNS}
    module = FusionModel(Architecture(dims, outputs=3, hidden=8)).eval()
    module.temperature.fill_(1.5)
    layers = asdict(module.architecture)
    del layers["dims"], layers["outputs"]
    config = {
        "task": "multiclass",
        "target": "label",
        "classes": ["a", "b", "c"],
        "split": {"column": "split"},
        "columns": [asdict(column) for column in COLUMNS],
        **layers,
    }
    config_hash = open_run(folder, "model", config)
    write_manifest(folder, "model", config_hash, files={WEIGHTS: save_weights(folder, module)})
    return module


def test_a_loaded_model_predicts_the_same_bits(tmp_path: Path) -> None:
    module = save_model(str(tmp_path / "model"))
    loaded = load_model(str(tmp_path / "model"))
    rng = np.random.default_rng(0)
    features = {c.name: rng.normal(size=(9, c.dim)).astype("f2") for c in COLUMNS}
    present = {c.name: rng.random(9) < 0.7 for c in COLUMNS}
    before = predict(module, loaded.task, features, present)
    after = loaded.predict(features, present)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.weights, after.weights)
    assert loaded.temperature == 1.5
    assert loaded.task.classes == ["a", "b", "c"]
    assert not loaded.module.training


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    save_model(str(tmp_path / "model"))
    weights = tmp_path / "model" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(MmfeatError, match="must have the sha256 of its manifest"):
        load_model(str(tmp_path / "model"))
    weights.write_bytes(data[:-1])
    with pytest.raises(MmfeatError, match=r"must have the .* bytes of its manifest"):
        load_model(str(tmp_path / "model"))
    weights.unlink()
    with pytest.raises(MmfeatError, match=r"model\.safetensors must exist"):
        load_model(str(tmp_path / "model"))


def test_columns_are_checked_by_name_and_fingerprint(tmp_path: Path) -> None:
    save_model(str(tmp_path / "model"))
    model = load_model(str(tmp_path / "model"))
    columns = {column.name: column for column in COLUMNS}
    model.check_columns(columns | {"more": Column("more", "text", 3, "ccc", {})})
    with pytest.raises(MmfeatError, match=r"'text'.* trained on, bbb; got 'ccc'"):
        model.check_columns(columns | {"text": Column("text", "text", 3, "ccc", {})})
    other = Column("text", "text", 8, "ccc", {"scheme": "builtin"})
    with pytest.raises(MmfeatError, match=r"dim was \d+, is 8 now; scheme was None, is 'builtin'"):
        model.check_columns(columns | {"text": other})
    with pytest.raises(MmfeatError, match=r"needs the feature column 'text'; got \['image'\]"):
        model.check_columns({"image": COLUMNS[0]})


def test_a_missing_model_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="mmfeat train FEATURES OUTPUT"):
        load_model(str(tmp_path / "nothing"))
