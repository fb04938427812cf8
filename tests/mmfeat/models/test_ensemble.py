"""An ensemble is the weighted mean of its members, also after a round trip through disk."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.features import Column
from mmfeat.models.architecture import Architecture
from mmfeat.models.build import build_model
from mmfeat.models.ensemble import EnsembleModel
from mmfeat.models.saved_model import (
    WEIGHTS,
    input_shapes,
    layers_to_config,
    load_model,
    save_weights,
)
from mmfeat.store import open_run, write_manifest

COLUMNS = [Column("image", "image", 4, "aaa", {}), Column("text", "text", 3, "bbb", {})]
DIMS = {"image": 4, "text": 3}


def make_ensemble() -> EnsembleModel:
    torch.manual_seed(0)
    both = Architecture(DIMS, outputs=3, hidden=8, conditioning={"image": "l2", "text": "pca:2"})
    alone = Architecture({"text": 3}, outputs=3, fusion="logistic", combination="linear")
    architecture = Architecture(DIMS, outputs=3, fusion="ensemble", members=(both, alone))
    model = build_model(architecture).eval()
    assert isinstance(model, EnsembleModel)
    for weights in model.parameters():
        torch.nn.init.normal_(weights)
    model.member_weights.copy_(torch.tensor([0.25, 2.0]))
    return model


def inputs() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    features = {name: torch.randn(6, dim) for name, dim in DIMS.items()}
    return features, {name: torch.rand(6) < 0.7 for name in DIMS}


def test_logits_are_the_weighted_sum_of_the_members() -> None:
    model = make_ensemble()
    features, present = inputs()
    first, second = (member(features, present) for member in model.members)
    logits, weights = model(features, present)
    torch.testing.assert_close(logits, 0.25 * first[0] + 2.0 * second[0])
    # Only the first member weighs all columns.
    torch.testing.assert_close(weights, first[1])


def save(folder: Path, model: EnsembleModel, **changes: Any) -> str:
    config = {
        "task": "multiclass",
        "target": "label",
        "classes": ["a", "b", "c"],
        "split": {"column": "split"},
        "columns": [asdict(column) for column in COLUMNS],
        "fusion": "search",
    }
    chosen = {"columns": config["columns"], **layers_to_config(model.architecture), **changes}
    config_hash = open_run(str(folder), "model", config)
    weights = {WEIGHTS: save_weights(str(folder), model)}
    write_manifest(str(folder), "model", config_hash, files=weights, chosen=chosen)
    return str(folder)


def test_a_saved_ensemble_predicts_the_same(tmp_path: Path) -> None:
    model = make_ensemble()
    loaded = load_model(save(tmp_path / "model", model))
    features, present = inputs()
    assert torch.equal(model(features, present)[0], loaded.module(features, present)[0])
    assert loaded.module.architecture == model.architecture
    assert loaded.config["fusion"] == "ensemble"


@pytest.mark.parametrize(
    "changes",
    [
        {"members": []},
        {"members": "gmu"},
        {"members": [{"fusion": "gmu"}]},
        {"members": [{"columns": ["sound"], "fusion": "single", "combination": "mlp", "hidden": 8,
                      "dropout": 0.1, "modality_dropout": 0.0}]},
        {"members": [{"columns": ["text"], "fusion": "ensemble", "combination": "mlp", "hidden": 8,
                      "dropout": 0.1, "modality_dropout": 0.0}]},
        {"members": [{"columns": ["text"], "fusion": "single", "combination": "mlp", "hidden": 1,
                      "dropout": 0.1, "modality_dropout": 0.0}] * 300},
        {"conditioning": {"image": "pca:9999999"}, "fusion": "gmu"},
        {"fusion": "align"},
    ],
)  # fmt: skip
def test_damaged_layers_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = save(tmp_path / "model", make_ensemble(), **changes)
    with pytest.raises((DamagedFileError, MmfeatError)):
        load_model(folder)


@pytest.mark.parametrize(
    "more", [{"decoder": "junk"}, {"decoder": {"layers": 10**9}}, {"members": 7}]
)
def test_what_a_member_cannot_have_is_not_read(tmp_path: Path, more: dict[str, Any]) -> None:
    model = make_ensemble()
    members = [member | more for member in layers_to_config(model.architecture)["members"]]
    loaded = load_model(save(tmp_path / "model", model, members=members))
    assert loaded.module.architecture == model.architecture


def test_members_must_predict_the_task() -> None:
    member = Architecture(DIMS, outputs=2)
    with pytest.raises(MmfeatError, match="predicts its task"):
        Architecture(DIMS, outputs=3, fusion="ensemble", members=(member,))
    with pytest.raises(MmfeatError, match="read its columns"):
        Architecture({"image": 4}, outputs=2, fusion="ensemble", members=(member,))


def test_layers_survive_their_document() -> None:
    from mmfeat.models.saved_model.layers import architecture_from_config

    architecture = make_ensemble().architecture
    config = {"columns": ["image", "text"], **layers_to_config(architecture)}
    assert architecture_from_config(config, COLUMNS, 3) == architecture
    assert input_shapes(COLUMNS)["dims"] == DIMS
