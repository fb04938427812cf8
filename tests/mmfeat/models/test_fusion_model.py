"""The classifier: presence, modality dropout, batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.fusion_model import FusionModel, hide_modalities
from mmfeat.models.inference import BATCH, predict
from mmfeat.models.tasks import Multiclass

TASK = Multiclass(["a", "b", "c", "d"])
DIMS = {"image": 5, "text.clip": 7, "audio": 3}
FUSIONS = ["concat", "gmu", "sum"]


def classifier(fusion: str, dims: dict[str, int] = DIMS) -> FusionModel:
    """In eval mode, with no gate or vector of absence left at zero."""
    torch.manual_seed(1)
    module = FusionModel(Architecture(dims, outputs=4, fusion=fusion, hidden=16))
    for weight in (*module.fusion.parameters(), *(p.missing for p in module.projections)):
        torch.nn.init.normal_(weight)
    return module.eval()


def rows(count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
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
def test_what_stands_in_an_absent_row_changes_nothing(fusion: str, value: float, seed: int) -> None:
    module = classifier(fusion)
    features, present = rows(8, seed)
    logits, weights = module(as_tensors(features), as_tensors(present))
    for name, there in present.items():
        features[name][~there] = value
    other_logits, other_weights = module(as_tensors(features), as_tensors(present))
    assert torch.equal(logits, other_logits)
    if weights is not None:
        assert torch.equal(weights, other_weights)


def test_an_absent_nan_does_not_reach_a_gradient() -> None:
    module = classifier("gmu").train()
    features, present = rows(8)
    for name, there in present.items():
        features[name][~there] = np.nan
    module(as_tensors(features), as_tensors(present))[0].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in module.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_presence_itself_matters(fusion: str) -> None:
    features, present = rows(16)
    with_all = {name: np.ones(16, bool) for name in present}
    without = with_all | {"audio": np.zeros(16, bool)}
    module = classifier(fusion)
    assert not np.allclose(
        predict(module, TASK, features, with_all).scores,
        predict(module, TASK, features, without).scores,
    )


@pytest.mark.parametrize("fusion", FUSIONS)
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, BATCH + 30))
def test_predictions_do_not_depend_on_how_rows_are_batched(fusion: str, cut: int) -> None:
    module = classifier(fusion)
    features, present = rows(BATCH + 31)
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


def test_rows_without_any_modality_are_marked_and_hold_nan() -> None:
    features, present = rows(40)
    result = predict(classifier("gmu"), TASK, features, present)
    scorable = np.any(list(present.values()), axis=0)
    assert not scorable.all()
    np.testing.assert_array_equal(result.scorable, scorable)
    np.testing.assert_array_equal(np.isnan(result.scores).all(axis=1), ~scorable)
    np.testing.assert_allclose(result.scores[scorable].sum(axis=1), 1, rtol=1e-6)
    assert result.weights is not None
    np.testing.assert_allclose(result.weights[scorable].sum(axis=1), 1, rtol=1e-6)


def test_only_a_fusion_with_weights_reports_them() -> None:
    features, present = rows(4)
    assert predict(classifier("sum"), TASK, features, present).weights is None
    assert predict(classifier("gmu"), TASK, features, present).weights is not None


def test_no_rows_give_no_predictions() -> None:
    features, present = rows(0)
    assert predict(classifier("gmu"), TASK, features, present).scores.shape == (0, 4)


def test_prediction_leaves_dropout_out() -> None:
    module = classifier("gmu").train()
    features, present = rows(9)
    first, second = (predict(module, TASK, features, present).scores for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert module.training


def test_modality_dropout_hides_by_its_chance_and_never_all_of_a_row() -> None:
    torch.manual_seed(0)
    mask = torch.rand(20_000, 2) < 0.7
    kept = hide_modalities(mask, 0.3)
    assert not (kept & ~mask).any()
    assert (kept.any(dim=1) == mask.any(dim=1)).all()
    both = mask.all(dim=1)
    # Of rows with both, .3 · .7 lose the first alone; those that would lose both keep both.
    assert (~kept[both, 0]).float().mean().item() == pytest.approx(0.21, abs=0.02)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("fusion", "gum", "no fusion of that name; got 'gum'. There are: align, "),
        ("combination", "deep", "no combination of that name; got 'deep'. There are: add, "),
        (
            "fusion",
            "single",
            "'single' takes at most 1 of the modalities; got .'image', 'text.clip'",
        ),
        ("dropout", 1.0, "dropout must lie in"),
        ("hidden", 0, "hidden must be at least 1"),
    ],
)
def test_a_mistaken_architecture_is_refused(field: str, value: object, says: str) -> None:
    with pytest.raises(MmfeatError, match=says):
        Architecture(**{"dims": DIMS, "outputs": 2, field: value})
