"""CIDEr, against the values of the reference implementation (pycocoevalcap 1.2, CiderScorer)."""

import numpy as np
import pytest

from training.metrics.cider import cider_scores, words

TEXTS = [
    "a red circle left of a blue square",
    "a dog runs on the beach",
    "two men play guitar",
    "a dog",
    "",
    "a a a a red red circle",
]
REFERENCES = [
    ["a red circle left of a blue square", "red circle and a blue square"],
    ["a brown dog running along the beach", "the dog is on the beach", "a dog runs on sand"],
    ["two men are playing guitars on a stage"],
    ["a cat sleeps"],
    ["a plane in the sky"],
    ["a red circle"],
]
SCORES = [
    6.585625746118222,
    3.6456337366427487,
    1.2296272027801032,
    0.0,
    0.0,
    1.7954566945126795,
]


def test_scores_are_those_of_the_reference_implementation():
    np.testing.assert_allclose(cider_scores(TEXTS, REFERENCES), SCORES, rtol=1e-12)


def test_scores_follow_their_rows():
    order = [3, 0, 5, 1, 4, 2]
    shuffled = cider_scores([TEXTS[i] for i in order], [REFERENCES[i] for i in order])
    np.testing.assert_allclose(shuffled, np.array(SCORES)[order])


def test_a_text_that_is_its_only_reference_scores_ten():
    texts = ["one two three four five", "six seven eight nine ten"]
    np.testing.assert_allclose(cider_scores(texts, [[text] for text in texts]), 10)


def test_a_single_record_has_no_corpus():
    assert cider_scores(["a cat"], [["a cat"]]).tolist() == [0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red, RED circle!", ["a", "red", "red", "circle"]),
        ("don't 12.5", ["don't", "12", "5"]),
        ("红烧肉, 好吃", ["红", "烧", "肉", "好", "吃"]),
        ("Übergrößenträger", ["übergrößenträger"]),
        (" \t…", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected
