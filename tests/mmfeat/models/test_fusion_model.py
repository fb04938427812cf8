"""The fusion model: presence, modality dropout, batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.fusion_model import FusionModel
from mmfeat.models.inference import BATCH_ROWS, predict
from mmfeat.models.masks import drop_modalities
from mmfeat.models.tasks import Multiclass

TASK = Multiclass(["a", "b", "c", "d"])
DIMS = {"image": 5, "text.clip": 7, "audio": 3}
FUSIONS = ["concat", "gmu", "sum"]


def make_model(fusion: str, dims: dict[str, int] = DIMS) -> FusionModel:
    """Return a model in eval mode without zero gates or zero vectors of absent modalities."""
    torch.manual_seed(1)
    module = FusionModel(Architecture(dims, outputs=4, fusion=fusion, hidden=16))
    for weight in (*module.fusion.parameters(), *(p.missing for p in module.projections)):
        torch.nn.init.normal_(weight)
    return module.eval()


def make_rows(count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    features = {name: rng.normal(size=(count, dim)).astype("f2") for name, dim in DIMS.items()}
    return features, {name: rng.random(count) < 0.6 for name in DIMS}


def as_tensors(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(v).float() if v.dtype != bool else torch.from_numpy(v)
        for name, v in values.items()
    }


@pytest.mark.parametrize("fusion", FUSIONS)
@settings(max_examples=25, deadline=None)
@given(value=st.sampled_from([float("nan"), float("inf"), -3.0, 6e4]), seed=st.integers(0, 2**16))
def test_values_of_absent_rows_have_no_effect(fusion: str, value: float, seed: int) -> None:
    module = make_model(fusion)
    features, present = make_rows(8, seed)
    logits, weights = module(as_tensors(features), as_tensors(present))
    for name, mask in present.items():
        features[name][~mask] = value
    other_logits, other_weights = module(as_tensors(features), as_tensors(present))
    assert torch.equal(logits, other_logits)
    if weights is not None:
        assert torch.equal(weights, other_weights)


def test_nan_of_absent_rows_reaches_no_gradient() -> None:
    module = make_model("gmu").train()
    features, present = make_rows(8)
    for name, mask in present.items():
        features[name][~mask] = np.nan
    module(as_tensors(features), as_tensors(present))[0].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in module.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_presence_changes_predictions(fusion: str) -> None:
    features, present = make_rows(16)
    with_all = {name: np.ones(16, bool) for name in present}
    without = with_all | {"audio": np.zeros(16, bool)}
    module = make_model(fusion)
    assert not np.allclose(
        predict(module, TASK, features, with_all).scores,
        predict(module, TASK, features, without).scores,
    )


@pytest.mark.parametrize("fusion", FUSIONS)
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, BATCH_ROWS + 30))
def test_predictions_do_not_depend_on_batches(fusion: str, cut: int) -> None:
    module = make_model(fusion)
    features, present = make_rows(BATCH_ROWS + 31)
    whole = predict(module, TASK, features, present)
    parts = [
        predict(
            module,
            TASK,
            {name: values[part] for name, values in features.items()},
            {name: values[part] for name, values in present.items()},
        )
        for part in (slice(0, cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(whole.scores, np.concatenate([part.scores for part in parts]))


def test_rows_without_modalities_are_not_scorable() -> None:
    features, present = make_rows(40)
    result = predict(make_model("gmu"), TASK, features, present)
    scorable = np.any(list(present.values()), axis=0)
    assert not scorable.all()
    np.testing.assert_array_equal(result.scorable, scorable)
    np.testing.assert_array_equal(np.isnan(result.scores).all(axis=1), ~scorable)
    np.testing.assert_allclose(result.scores[scorable].sum(axis=1), 1, rtol=1e-6)
    assert result.weights is not None
    np.testing.assert_allclose(result.weights[scorable].sum(axis=1), 1, rtol=1e-6)


def test_weights_exist_only_if_the_fusion_has_them() -> None:
    features, present = make_rows(4)
    assert predict(make_model("sum"), TASK, features, present).weights is None
    assert predict(make_model("gmu"), TASK, features, present).weights is not None


def test_no_rows_give_no_predictions() -> None:
    features, present = make_rows(0)
    assert predict(make_model("gmu"), TASK, features, present).scores.shape == (0, 4)


def test_prediction_uses_no_dropout() -> None:
    module = make_model("gmu").train()
    features, present = make_rows(9)
    first, second = (predict(module, TASK, features, present).scores for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert module.training


def test_modality_dropout_never_hides_a_whole_row() -> None:
    torch.manual_seed(0)
    mask = torch.rand(20_000, 2) < 0.7
    kept = drop_modalities(mask, 0.3)
    assert not (kept & ~mask).any()
    assert (kept.any(dim=1) == mask.any(dim=1)).all()
    both = mask.all(dim=1)
    # Of rows with both, .3 · .7 lose only the first; those that would lose both keep both.
    assert (~kept[both, 0]).float().mean().item() == pytest.approx(0.21, abs=0.02)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fusion", "gmuu", r"fusion must be one of: align, .*; got 'gmuu'\. Did you mean 'gmu'\?"),
        ("combination", "deep", "combination must be one of: add, .*; got 'deep'"),
        (
            "fusion",
            "single",
            "'single' takes at most 1 of the modalities; got .'image', 'text.clip'",
        ),
        ("dropout", 1.0, "dropout must lie in"),
        ("hidden", 0, "hidden must be at least 1"),
    ],
)
def test_invalid_architectures_are_rejected(field: str, value: object, message: str) -> None:
    with pytest.raises(MmfeatError, match=message):
        Architecture(**{"dims": DIMS, "outputs": 2, field: value})
