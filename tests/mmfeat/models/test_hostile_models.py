"""Models of strangers: each is refused with one line, before memory is allocated for its claims."""

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

from mmfeat.errors import MmfeatError
from mmfeat.models.saved_model import WEIGHTS, load_model
from mmfeat.storage import files
from tests.mmfeat.models.test_saved_model import COLUMNS, save_model

Weights = dict[str, torch.Tensor]


def save_hostile(
    folder: str,
    config: Callable[[dict[str, Any]], Any] = lambda config: None,
    weights: Callable[[Weights], Any] = lambda weights: None,
    data: Callable[[bytes], bytes] = lambda data: data,
) -> None:
    """Write a model whose manifest agrees with changed weights, and with a changed config."""
    save_model(folder)
    path, manifest_path = files.join(folder, WEIGHTS), files.join(folder, "manifest.json")
    with files.open_input(path) as file:
        tensors = safetensors.torch.load(file.read())
    weights(tensors)
    with files.create(path) as output:
        output.write(data(safetensors.torch.save(tensors)))
    manifest = files.read_json(manifest_path)
    config(manifest["config"])
    manifest["files"][WEIGHTS] = output.info()
    files.write_json(manifest_path, manifest)


def fill(name: str, value: float) -> Callable[[Weights], Any]:
    return lambda weights: weights[name].view(-1)[:1].fill_(value)


def rename(weights: Weights) -> None:
    weights["other"] = weights.pop("classifier.weight")


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Return a function that changes the header of a safetensors file."""

    def edit(data: bytes) -> bytes:
        (size,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8 : 8 + size])
        change(entries)
        text = json.dumps(entries).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return edit


def claim_shape(entries: dict[str, Any]) -> None:
    entries["classifier.weight"]["shape"] = [1 << 40, 1 << 20]


HOSTILE_WEIGHTS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"weights": fill("classifier.weight", float("nan"))}, "classifier.weight with NaN"),
    "infinity": ({"weights": fill("classifier.bias", float("inf"))}, "classifier.bias with NaN"),
    "NaN temperature": ({"weights": fill("temperature", float("nan"))}, "temperature with NaN"),
    "temperature 0": ({"weights": fill("temperature", 0)}, "got 0.0"),
    "temperature -1": ({"weights": fill("temperature", -1)}, "must be positive; got -1.0"),
    "temperature 1e30": ({"weights": fill("temperature", 1e30)}, "must be positive; got 1.0"),
    "threshold 2": ({"weights": fill("thresholds", 2)}, "must be from 0 to 1; got .2.0"),
    "missing": ({"weights": lambda w: w.pop("classifier.bias")}, "lacks classifier.bias"),
    "unknown": ({"weights": rename}, "has other|lacks classifier.weight"),
    "none": ({"weights": lambda w: w.clear()}, "lacks "),
    "float64": (
        {"weights": lambda w: w.update({"classifier.bias": w["classifier.bias"].double()})},
        r"classifier\.bias of float64 \[3\] instead of float32 \[3\]",
    ),
    "complex": (
        {"weights": lambda w: w.update({"classifier.bias": torch.zeros(3, dtype=torch.complex64)})},
        "classifier.bias of complex64",
    ),
    "transposed": (
        {"weights": lambda w: w.update({"classifier.weight": torch.zeros(8, 3)})},
        r"classifier\.weight of float32 \[8, 3\] instead of float32 \[3, 8\]",
    ),
    "shape of the header": ({"data": header(claim_shape)}, "must be a safetensors file"),
    "long header": ({"data": lambda d: b"\xff" * 7 + b"\x7f" + d[8:]}, "must be a safetensors"),
    "deep header": (
        {"data": lambda d: struct.pack("<Q", 99_999) + b"[" * 99_999}, "must be a safetensors file"
    ),
    "empty file": ({"data": lambda d: b""}, "must be a safetensors file"),
    "pickle": ({"data": lambda d: b"\x80\x04\x8c\x02os\x94."}, "must be a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_WEIGHTS)
def test_hostile_weights_are_refused(tmp_path, name):
    changes, message = HOSTILE_WEIGHTS[name]
    save_hostile(str(tmp_path / "model"), **changes)
    with pytest.raises(MmfeatError, match=rf"model\.safetensors .*{message}"):
        load_model(str(tmp_path / "model"))


def set_column(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["columns"][0].update(changes)


def set_value(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config.update(changes)


HOSTILE_CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "dim": (set_column(dim=1 << 24), r"norm\.weight of .* \[4\] instead of .* \[16777216\]"),
    "no dim": (lambda c: c["columns"][0].pop("dim"), "missing required field `dim`"),
    "dim 0": (set_column(dim=0), "dim: expected `int` >= 1; got 0|expected `int` >= 1"),
    "dim of text": (set_column(dim="4"), "dim: expected `int`, got `str`"),
    "huge dim": (set_column(dim=1 << 60), "dim: expected `int` <= "),
    "path as a column": (set_column(name="../../x"), "name: expected a plain name"),
    "tokens": (set_column(max_tokens=1 << 40), "max_tokens: expected `int` <= "),
    "dtype": (set_column(dtype="object"), r"dtype: expected .*float32.*; got 'object'"),
    "hidden": (set_value(hidden=1 << 20), "instead of"),
    "huge hidden": (set_value(hidden=1 << 50), "hidden: expected `int` <= "),
    "hidden of text": (set_value(hidden="8"), "hidden: expected `int`, got `str`"),
    "dropout": (set_value(dropout=7), r"dropout must lie in \[0, 1\); got 7"),
    "fusion": (set_value(fusion="no fusion"), "fusion must be one of"),
    "another fusion": (set_value(fusion="tfn"), "a file that (has|lacks) "),
    "layers of another size": (set_value(fusion="tfn", hidden=1 << 20), "a file that (has|lacks) "),
    "fusion of another type": (set_value(fusion=["gmu"]), "fusion: expected `str`, got `array`"),
    "combination": (set_value(combination=""), "combination must be one of"),
    "task": (set_value(task="no task"), "must have a task of multiclass, .*; got 'no task'"),
    "another task": (set_value(task="regression"), "missing required field `mean`"),
    "no classes": (set_value(classes=[]), "classes: expected `array` of length >= 1"),
    "more classes": (set_value(classes=[str(n) for n in range(5000)]), r"instead of .*\[5000"),
    "classes of numbers": (set_value(classes=[1, 2, 3]), r"classes\[0\]: expected `str`"),
    "no columns": (set_value(columns=[]), "columns: expected `array` of length >= 1"),
    "many columns": (lambda c: c.update(columns=c["columns"] * 9999), "length <= 256"),
    "split": (set_value(split=[]), "split: expected `object`, got `array`"),
    "align": (
        set_value(task="align", fusion="align", modalities=["a"], align_loss="infonce"),
        "modalities: expected `array` of length >= 2",
    ),
}


@pytest.mark.parametrize("name", HOSTILE_CONFIGS)
def test_hostile_configurations_are_refused(tmp_path, name):
    change, message = HOSTILE_CONFIGS[name]
    save_hostile(str(tmp_path / "model"), config=change)
    with pytest.raises(MmfeatError, match=message):
        load_model(str(tmp_path / "model"))


def test_a_claimed_shape_must_be_that_of_the_features(tmp_path):
    save_hostile(str(tmp_path / "model"), config=set_column(max_tokens=1 << 16))
    columns = {column.name: column for column in COLUMNS}
    with pytest.raises(MmfeatError, match="max_tokens was 65536, is None now"):
        load_model(str(tmp_path / "model")).check_columns(columns)


def test_a_manifest_without_weights_is_refused(tmp_path):
    save_model(str(tmp_path / "model"))
    path = files.join(str(tmp_path / "model"), "manifest.json")
    files.write_json(path, files.read_json(path) | {"files": {}})
    with pytest.raises(MmfeatError, match=r"must list model\.safetensors among its files"):
        load_model(str(tmp_path / "model"))
