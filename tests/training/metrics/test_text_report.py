import math

import numpy as np
import pytest

from training.metrics.text_report import LOSS_METRICS, evaluate_texts, text_metrics


def test_bleu_and_chrf_take_the_best_of_several_references():
    texts = ["the cat is on the mat", "a dog barks loudly at night"]
    one = text_metrics(texts, [["there is a cat on the mat"], ["dogs bark"]])
    two = text_metrics(texts, [["there is a cat on the mat", texts[0]], [texts[1]]])
    assert two["bleu"] == pytest.approx(100)
    assert two["chrf"] == pytest.approx(100)
    assert two["exact_match"] == 1
    assert 0 < one["bleu"] < 60
    assert one["exact_match"] == 0


def test_bleu_is_that_of_sacrebleu():
    # sacrebleu 2.6: corpus_bleu(["the cat sat on the mat"], [["the cat is on the mat today"]])
    value = text_metrics(["the cat sat on the mat"], [["the cat is on the mat today"]])["bleu"]
    # Precisions 5/6, 3/5, 1/4 and, smoothed, 1/6; brevity penalty exp(1 - 7/6).
    expected = 100 * math.exp(1 - 7 / 6) * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25
    assert value == pytest.approx(expected)


def test_chinese_texts_are_cut_into_characters():
    value = text_metrics(["红烧肉很好吃"], [["红烧肉很好"]])["bleu"]
    assert 50 < value < 100


def test_spaces_do_not_matter_for_an_exact_match():
    assert text_metrics(["a  b "], [["a b"]])["exact_match"] == 1


def test_perplexity_is_that_of_all_tokens():
    losses = np.array([[2.0, 2], [9.0, 3]])
    truth = np.zeros(2)
    assert LOSS_METRICS["loss"](truth, losses) == pytest.approx(11 / 5)
    assert LOSS_METRICS["perplexity"](truth, losses) == pytest.approx(math.exp(11 / 5))


def test_subsets_have_their_own_rows_and_the_words_of_all():
    texts = ["a cat", "a dog", "a bird", "a fish"]
    references = [["a cat"], ["a dog"], ["a tree"], ["a fish"]]
    losses = np.array([[1.0, 1], [2.0, 1], [3.0, 1], [4.0, 1]])
    present = {"image": np.array([1, 1, 0, 0], bool), "text": np.array([1, 1, 1, 1], bool)}
    result = evaluate_texts(texts, references, losses, present)
    subsets = result["per_subset"]
    assert {name: subset["loss"] for name, subset in subsets.items()} == {
        "image+text": 1.5,
        "text only": 3.5,
    }
    assert subsets["text only"]["exact_match"] == 0.5
    mean = (subsets["image+text"]["cider"] + subsets["text only"]["cider"]) / 2
    assert result["cider"] == pytest.approx(mean)
    assert result["distinct_texts"] == result["rows"] == 4
