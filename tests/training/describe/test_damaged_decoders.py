"""A model whose decoder or tokens do not fit its weights is refused in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.models.saved_model import load_model
from tests.training.scenes import describe_flags, scene_records
from tests.training.stores import write_store
from training.train import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    store = write_store(str(folder / "features"), scene_records(60))
    main([store, str(folder / "model"), *describe_flags(1)])
    return folder / "model"


def change(model: Path, copy: Path, *place: str, value: Any) -> str:
    """Copy a model with another value in its manifest, without the checksum of the document."""
    shutil.copytree(model, copy)
    path = copy / "manifest.json"
    document = json.loads(path.read_text())
    document.pop("checksum", None)
    parent = document["config"]
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    path.write_text(json.dumps(document))
    return str(copy)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["decoder"], None),
        (["decoder"], {}),
        (["decoder"], []),
        (["decoder", "layers"], 0),
        (["decoder", "layers"], 10**9),
        (["decoder", "layers"], 3),
        (["decoder", "width"], 2**40),
        (["decoder", "width"], 96),
        (["decoder", "heads"], 7),
        (["decoder", "heads"], 0),
        (["decoder", "prefix"], -1),
        (["decoder", "vocabulary"], 10),
        (["decoder", "vocabulary"], 10**8),
        (["decoder", "max_length"], 5),
        (["decoder", "max_length"], "long"),
        (["decoder", "eos"], 0),
        (["decoder", "bos"], 10**6),
        (["decoder", "language_model"], {"model_type": "gpt2", "n_layer": 1, "n_embd": 64}),
        (["decoder", "language_model"], {"model_type": "../../evil"}),
        (["decoder", "language_model"], "evil"),
        (["max_length"], 5),
        (["max_length"], 10**9),
        (["tokenizer"], "0" * 64),
        (["tokenizer"], "../../tokenizer"),
        (["task"], "multiclass"),
        (["fusion"], "late"),
    ],
)
def test_another_value_is_refused(model, tmp_path, place, value):
    copy = change(model, tmp_path / "copy", *place, value=value)
    with pytest.raises(MmfeatError) as caught:
        load_model(copy)
    assert "\n" not in str(caught.value)


def test_an_intact_copy_loads(model, tmp_path):
    copy = change(model, tmp_path / "copy", "seed", value=0)
    assert load_model(copy).task.name == "describe"
