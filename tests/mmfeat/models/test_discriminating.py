"""Problems on which the fusions must differ, with the differences their equations imply.

All with the combination `linear`: a hidden layer would make up for a weak fusion.
"""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from mmfeat.models.base import Model
from mmfeat.models.fusion import FUSIONS
from tests.mmfeat.models.toys import (
    Toy,
    accuracy,
    quadruples,
    scores_of,
    selector,
    train,
    two_views,
    weights_of,
    xor,
)

ADDITIVE = ["concat", "late", "late_stacked", "sum"]
INTERACTING = sorted(set(FUSIONS) - {*ADDITIVE, "single"})
TEXT_ALONE, BOTH = (0.5 * (1 + math.erf(d / 2**0.5)) for d in (1.0, (1.2**2 + 1.0**2) ** 0.5))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """These matrices are small: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def as_the_fusion_takes_it(toy: Toy, fusion: str) -> Toy:
    """The text in tokens, where the fusion needs a column of tokens."""
    takes_tokens = fusion in FUSIONS and FUSIONS[fusion].tokens
    return toy.as_tokens("text") if takes_tokens else toy


@cache
def trained_on_xor(fusion: str) -> Model:
    return train(as_the_fusion_takes_it(xor(8_000, seed=0), fusion), fusion)


@cache
def trained_on_selector(fusion: str) -> Model:
    return train(selector(4_000, seed=0)[0], fusion, steps=400)


def interaction(model: Model, toy: Toy) -> Tensor:
    """By how much a quadruple's scores are not a sum of an image's part and a text's."""
    scores = scores_of(model, toy).reshape(-1, 4)
    return scores[:, 1] + scores[:, 2] - scores[:, 0] - scores[:, 3]


@pytest.mark.parametrize("fusion", INTERACTING)
def test_the_exclusive_or_is_learned(fusion: str) -> None:
    test = as_the_fusion_takes_it(xor(8_000, seed=1), fusion)
    assert accuracy(scores_of(trained_on_xor(fusion), test), test.labels) >= 0.99


@pytest.mark.parametrize("fusion", ADDITIVE)
def test_an_additive_model_stays_at_chance_on_the_exclusive_or(fusion: str) -> None:
    test = xor(8_000, seed=1)
    # A lucky bias alone gets three cells of four right. At the median of its scores, where half
    # the rows are on each side, no additive model is better than chance.
    scores = scores_of(trained_on_xor(fusion), test)
    assert accuracy(scores, test.labels, scores.median().item()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_alone_stays_at_chance_on_the_exclusive_or(modality: str) -> None:
    def alone(toy: Toy) -> Toy:
        return Toy(
            {modality: toy.features[modality]}, {modality: toy.present[modality]}, toy.labels
        )

    test = alone(xor(8_000, seed=1))
    scores = scores_of(train(alone(xor(8_000, seed=0)), "single"), test)
    assert accuracy(scores, test.labels, scores.median().item()) == pytest.approx(0.5, abs=0.02)


def test_one_weight_a_modality_gets_three_cells_of_four_without_constants() -> None:
    # w f(a) + (1 − w) g(b) with f and g odd lies on the wrong side for one cell whatever w is.
    # The biases of h are constants that w can choose between, and with them all four are right.
    test = xor(8_000, seed=1)
    model = train(xor(8_000, seed=0), "mod_scalar", biases=False)
    assert accuracy(scores_of(model, test), test.labels) == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("fusion", INTERACTING)
def test_all_four_of_a_quadruple_are_told_apart(fusion: str) -> None:
    toy = as_the_fusion_takes_it(quadruples(500, seed=2), fusion)
    right = (scores_of(trained_on_xor(fusion), toy) > 0) == (toy.labels == 1)
    assert right.reshape(-1, 4).all(dim=1).float().mean() >= 0.98


@pytest.mark.parametrize("fusion", ADDITIVE)
def test_an_additive_model_cannot_tell_a_quadruple_apart(fusion: str) -> None:
    toy = quadruples(500, seed=2)
    scores = scores_of(trained_on_xor(fusion), toy)
    assert interaction(trained_on_xor(fusion), toy).abs().max() <= 1e-5 * scores.abs().max() + 1e-5
    right = ((scores > 0) == (toy.labels == 1)).reshape(-1, 4)
    assert not right.all(dim=1).any()


def test_quadruples_are_balanced_in_every_marginal() -> None:
    toy = quadruples(50, seed=2)
    for modality in ("image", "text"):
        vectors, which = toy.features[modality].unique(dim=0, return_inverse=True)
        assert len(vectors) == 100
        share = torch.zeros(100).index_add(0, which, toy.labels.float()) / which.bincount()
        assert (share == 0.5).all()


def test_a_shuffled_text_leaves_the_gated_unit_at_chance() -> None:
    test = xor(8_000, seed=1)
    order = torch.randperm(8_000, generator=torch.Generator().manual_seed(0))
    shuffled = Toy(
        test.features | {"text": test.features["text"][order]}, test.present, test.labels
    )
    scores = scores_of(trained_on_xor("gmu"), shuffled)
    assert accuracy(scores, test.labels) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("fusion", "least"), [("mod_scalar", 0.9), ("seed_sigmoid", 0.6), ("gmu", 0.5), ("cross", 0.3)]
)
def test_weights_follow_the_flag_that_says_which_modality_counts(fusion: str, least: float) -> None:
    test, by_image = selector(2_000, seed=1)
    image = weights_of(trained_on_selector(fusion), test)[:, 0]
    assert image[by_image].mean() - image[~by_image].mean() >= least


def test_a_softmax_over_channels_hides_which_modality_counts() -> None:
    test, _ = selector(2_000, seed=1)
    image = weights_of(trained_on_selector("seed_literal"), test)[:, 0]
    torch.testing.assert_close(image, torch.full_like(image, 1 / 16))
    logits, _ = trained_on_selector("seed_literal")(test.features, test.present)
    assert (logits.argmax(dim=1) == test.labels).float().mean() >= 0.95


@pytest.mark.parametrize("fusion", sorted({*INTERACTING, *ADDITIVE}))
def test_a_missing_image_costs_no_more_than_it_must(fusion: str) -> None:
    toy = two_views(16_000, seed=0)
    toy = toy.without("image", torch.arange(16_000) % 3 == 0)
    model = train(as_the_fusion_takes_it(toy, fusion), fusion, modality_dropout=0.1)
    test = as_the_fusion_takes_it(two_views(8_000, seed=1), fusion)
    assert accuracy(scores_of(model, test), test.labels) >= BOTH - 0.025
    lacking = test.without("image")
    assert accuracy(scores_of(model, lacking), test.labels) >= TEXT_ALONE - 0.025
