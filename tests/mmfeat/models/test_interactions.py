"""Toy problems on which fusions differ as their equations imply.

All use the combination `linear`: a hidden layer would compensate for a weak fusion.
"""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from mmfeat.models.base import Model
from mmfeat.models.fusion import FUSIONS
from tests.mmfeat.models.toy_problems import (
    ToyProblem,
    accuracy,
    modality_weights,
    quadruples,
    selector,
    train,
    two_views,
    xor,
    xor_scores,
)

ADDITIVE = ["concat", "late", "late_stacked", "sum"]
INTERACTING = sorted(set(FUSIONS) - {*ADDITIVE, "single"})
TEXT_ALONE, BOTH = (0.5 * (1 + math.erf(d / 2**0.5)) for d in (1.0, (1.2**2 + 1.0**2) ** 0.5))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small matrices are slower in several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_tokens(toy: ToyProblem, fusion: str) -> ToyProblem:
    """Return the problem with the text as tokens, if the fusion needs tokens."""
    takes_tokens = fusion in FUSIONS and FUSIONS[fusion].takes_tokens
    return toy.as_tokens("text") if takes_tokens else toy


@cache
def train_on_xor(fusion: str) -> Model:
    return train(with_tokens(xor(8_000, seed=0), fusion), fusion)


@cache
def train_on_selector(fusion: str) -> Model:
    return train(selector(4_000, seed=0)[0], fusion, steps=400)


def interaction(model: Model, toy: ToyProblem) -> Tensor:
    """Return how much a quadruple's scores differ from the sum of an image and a text part."""
    scores = xor_scores(model, toy).reshape(-1, 4)
    return scores[:, 1] + scores[:, 2] - scores[:, 0] - scores[:, 3]


@pytest.mark.parametrize("fusion", INTERACTING)
def test_interacting_fusions_learn_xor(fusion: str) -> None:
    test = with_tokens(xor(8_000, seed=1), fusion)
    assert accuracy(xor_scores(train_on_xor(fusion), test), test.labels) >= 0.99


@pytest.mark.parametrize("fusion", ADDITIVE)
def test_additive_models_stay_at_chance_on_xor(fusion: str) -> None:
    test = xor(8_000, seed=1)
    # A lucky bias alone gets three quarters right. At the median of the scores, with half the rows
    # on each side, no additive model is better than chance.
    scores = xor_scores(train_on_xor(fusion), test)
    assert accuracy(scores, test.labels, scores.median().item()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_stays_at_chance_on_xor(modality: str) -> None:
    def select(toy: ToyProblem) -> ToyProblem:
        return ToyProblem(
            {modality: toy.features[modality]}, {modality: toy.present[modality]}, toy.labels
        )

    test = select(xor(8_000, seed=1))
    scores = xor_scores(train(select(xor(8_000, seed=0)), "single"), test)
    assert accuracy(scores, test.labels, scores.median().item()) == pytest.approx(0.5, abs=0.02)


def test_scalar_weights_without_biases_get_three_quarters_of_xor() -> None:
    # w f(a) + (1 − w) g(b) with odd f and g is wrong for one of four cases, whatever w is. With
    # biases, w selects between constants, and all four are correct.
    test = xor(8_000, seed=1)
    model = train(xor(8_000, seed=0), "mod_scalar", biases=False)
    assert accuracy(xor_scores(model, test), test.labels) == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("fusion", INTERACTING)
def test_interacting_fusions_separate_quadruples(fusion: str) -> None:
    toy = with_tokens(quadruples(500, seed=2), fusion)
    correct = (xor_scores(train_on_xor(fusion), toy) > 0) == (toy.labels == 1)
    assert correct.reshape(-1, 4).all(dim=1).float().mean() >= 0.98


@pytest.mark.parametrize("fusion", ADDITIVE)
def test_additive_models_cannot_separate_quadruples(fusion: str) -> None:
    toy = quadruples(500, seed=2)
    scores = xor_scores(train_on_xor(fusion), toy)
    assert interaction(train_on_xor(fusion), toy).abs().max() <= 1e-5 * scores.abs().max() + 1e-5
    correct = ((scores > 0) == (toy.labels == 1)).reshape(-1, 4)
    assert not correct.all(dim=1).any()


def test_quadruples_are_balanced_in_every_marginal() -> None:
    toy = quadruples(50, seed=2)
    for modality in ("image", "text"):
        vectors, index = toy.features[modality].unique(dim=0, return_inverse=True)
        assert len(vectors) == 100
        share = torch.zeros(100).index_add(0, index, toy.labels.float()) / index.bincount()
        assert (share == 0.5).all()


def test_gmu_stays_at_chance_if_the_text_is_shuffled() -> None:
    test = xor(8_000, seed=1)
    order = torch.randperm(8_000, generator=torch.Generator().manual_seed(0))
    shuffled = ToyProblem(
        test.features | {"text": test.features["text"][order]}, test.present, test.labels
    )
    scores = xor_scores(train_on_xor("gmu"), shuffled)
    assert accuracy(scores, test.labels) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("fusion", "min_gap"),
    [("mod_scalar", 0.9), ("seed_sigmoid", 0.6), ("gmu", 0.5), ("cross", 0.3)],
)
def test_weights_follow_the_modality_that_matters(fusion: str, min_gap: float) -> None:
    test, by_image = selector(2_000, seed=1)
    image = modality_weights(train_on_selector(fusion), test)[:, 0]
    assert image[by_image].mean() - image[~by_image].mean() >= min_gap


def test_seed_literal_weights_are_constant() -> None:
    test, _ = selector(2_000, seed=1)
    image = modality_weights(train_on_selector("seed_literal"), test)[:, 0]
    torch.testing.assert_close(image, torch.full_like(image, 1 / 16))
    logits, _ = train_on_selector("seed_literal")(test.features, test.present)
    assert (logits.argmax(dim=1) == test.labels).float().mean() >= 0.95


@pytest.mark.parametrize("fusion", sorted({*INTERACTING, *ADDITIVE}))
def test_accuracy_with_a_missing_image_is_near_optimal(fusion: str) -> None:
    toy = two_views(16_000, seed=0)
    toy = toy.without("image", torch.arange(16_000) % 3 == 0)
    model = train(with_tokens(toy, fusion), fusion, modality_dropout=0.1)
    test = with_tokens(two_views(8_000, seed=1), fusion)
    assert accuracy(xor_scores(model, test), test.labels) >= BOTH - 0.025
    without_image = test.without("image")
    assert accuracy(xor_scores(model, without_image), test.labels) >= TEXT_ALONE - 0.025
