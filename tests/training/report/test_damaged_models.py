"""The report of a model whose documents are damaged is one error that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmfeat.errors import DamagedFileError
from tests.training.report.conftest import write_model
from training.report import write_model_report


def change(model: str, name: str, *place: str | int, value: Any) -> None:
    """Replace a field of a JSON document of a model."""
    path = Path(model) / name
    document = json.loads(path.read_text())
    parent = document
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("config.json", ["config"]),
        ("config.json", ["config", "classes"]),
        ("config.json", ["config", "classes", 0]),
        ("config.json", ["config", "columns"]),
        ("config.json", ["config", "columns", 0]),
        ("config.json", ["config", "target"]),
        ("metrics.json", ["metric"]),
        ("metrics.json", ["test"]),
        ("metrics.json", ["test", "confusion_matrix"]),
        ("metrics.json", ["test", "confusion_matrix", 0]),
        ("metrics.json", ["test", "per_class"]),
        ("metrics.json", ["temperature"]),
        ("metrics.json", ["best_epoch"]),
    ],
)
@pytest.mark.parametrize("value", [True, -1.5])
def test_a_field_of_another_type_is_named(tmp_path, name, place, value):
    model = write_model(tmp_path / "model", rows=12)
    change(model, name, *place, value=value)
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged: {place[0]}"):
        write_model_report(model)


@pytest.mark.parametrize("line", ["{", "[]", '{"epoch": "x"}'])
def test_a_damaged_log_is_named(tmp_path, line):
    model = write_model(tmp_path / "model", rows=12)
    (Path(model) / "log.jsonl").write_text(f"{line}\n")
    with pytest.raises(DamagedFileError, match=r"log\.jsonl"):
        write_model_report(model)
