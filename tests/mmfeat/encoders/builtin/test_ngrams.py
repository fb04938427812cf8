"""`builtin:ngrams` counts n-grams of every script, the same in every process."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from mmfeat.encoders.builtin import ngrams as ngrams_module
from mmfeat.encoders.builtin.ngrams import LONG, LONG_WEIGHT, SHORT, HashedNgrams
from mmfeat.encoders.builtin.text_input import MAX_CHARS, fold_text
from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.checks import heavy_imports
from tests.mmfeat.errors import record_error_reason
from tests.programs import run_python

ENCODER = HashedNgrams()
MANY = HashedNgrams(dim=1 << 20)
"""So many entries that hardly any n-grams share one."""

GOLDEN_CODE = (
    "from mmfeat.encoders.builtin.ngrams import HashedNgrams\n"
    "v = HashedNgrams(dim=64).encode(['Red apple 红苹果 🍎'])[0]\n"
    "print([round(float(x), 4) for x in v])"
)
# fmt: off
GOLDEN_VALUES = [
    0.3245, 0, 0, 0, 0.2302, 0, 0.2302, 0.2854,
    0.2302, 0.2302, 0, 0.136, 0, 0.136, 0, 0.136,
    0, 0, 0.136, 0.2302, 0, 0.136, 0.2302, 0,
    0, 0, 0.136, 0, 0.136, 0.136, 0.136, 0,
    0.1059, 0.1793, 0, 0.1059, 0, 0.1793, 0, 0.1793,
    0.1059, 0, 0, 0.1793, 0.1059, 0.1059, 0.1059, 0.1059,
    0.1059, 0, 0, 0, 0.1059, 0, 0.1059, 0.1059,
    0, 0, 0.1059, 0.1059, 0.1059, 0.1793, 0, 0.1059,
]
# fmt: on


def feature(text: str) -> np.ndarray:
    return ENCODER.encode([text])[0]


@pytest.mark.parametrize("seed", ["0", "1234"])
def test_values_are_unchanged_in_every_process(seed: str) -> None:
    values = json.loads(run_python(GOLDEN_CODE, PYTHONHASHSEED=seed))
    assert values == pytest.approx(GOLDEN_VALUES, abs=1e-4)


@pytest.mark.parametrize("text", ["the cat sat on the mat", "红烧肉和红苹果", "aaaa a aa bcdefgh"])
def test_entries_are_the_damped_counts_of_ngrams_within_words(text: str) -> None:
    """Compared with the n-grams that scikit-learn counts."""
    expected = []
    for lengths, weight in ((SHORT, 1.0), (LONG, LONG_WEIGHT)):
        counts: Counter[str] = Counter()
        for n in lengths:
            vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(n, n)).fit([text])
            names = vectorizer.get_feature_names_out()
            numbers = vectorizer.transform([text]).toarray()[0]
            # char_wb counts shorter words, and single blanks, too.
            counts.update(
                {name: number for name, number in zip(names, numbers, strict=True)
                 if len(name) == n and name != " "}
            )  # fmt: skip
        damped = 1 + np.log(list(counts.values()))
        expected += list(damped / np.linalg.norm(damped) * weight)
    values = MANY.encode([text])[0]
    np.testing.assert_allclose(
        np.sort(values[values > 0]), np.sort(expected) / np.linalg.norm(expected), rtol=1e-5
    )


def test_features_do_not_depend_on_the_batch() -> None:
    texts = ["a", "red apple", "红烧肉很好吃", "🍎", "x" * 5000, "a"]
    together = ENCODER.encode(texts)
    assert together.shape == (6, ENCODER.dim)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(ENCODER.encode(texts[::-1])[::-1], together)
    np.testing.assert_array_equal([feature(text) for text in texts], together)
    assert ENCODER.encode([]).shape == (0, ENCODER.dim)


@given(st.lists(st.text(st.sampled_from("ab1我🍎é. \ue000\u200d"), max_size=12), max_size=9))
@settings(max_examples=100, deadline=None)
def test_features_of_any_texts_do_not_depend_on_the_batch(texts: list[str]) -> None:
    encoder = HashedNgrams(dim=64)
    alone = [encoder.encode([text])[0] for text in texts]
    np.testing.assert_array_equal(encoder.encode(texts), np.reshape(alone, (-1, 64)))


def test_texts_of_many_blocks_have_their_features(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"red apple {number}" for number in range(50)]
    together = ENCODER.encode(texts)
    monkeypatch.setattr(ngrams_module, "_BLOCK_VALUES", 1)
    np.testing.assert_array_equal(ENCODER.encode(texts), together)


@given(st.text(st.characters(), max_size=60))
@settings(max_examples=200, deadline=None)
def test_values_are_not_negative_and_have_length_one(text: str) -> None:
    vector = feature(text)
    assert (vector >= 0).all()
    assert np.linalg.norm(vector) == pytest.approx(1 if fold_text(text).split() else 0, abs=1e-5)


def test_float16_keeps_every_entry_of_a_long_text() -> None:
    rng = np.random.default_rng(0)
    vector = feature("".join(map(chr, rng.integers(0x4E00, 0x9FFF, MAX_CHARS))))
    assert ((vector > 0) == (vector.astype(np.float16) > 0)).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog bites man", "dog bites men"),
        ("红烧肉", "肉烧红"),
        ("👩‍🍳", "👩"),
        ("a b", "ab"),
        ("5", "6"),
        ("good", "good good good"),
        ("naïve", "naive"),
    ],
)
def test_different_texts_have_different_vectors(one: str, other: str) -> None:
    assert not np.array_equal(feature(one), feature(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("ＡＢＣ　１２", "abc 12"),
        ("cafe\u0301", "café"),
        ("  red \n\t apple ", "red apple"),
    ],
)
def test_case_width_ligatures_and_blanks_do_not_matter(one: str, other: str) -> None:
    np.testing.assert_array_equal(feature(one), feature(other))


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("running shoes", "run in a shoe", "green tea"),
        ("红烧肉", "红烧排骨", "绿茶"),
        ("कपड़े की दुकान", "कपड़े", "सेब"),
        ("รองเท้าวิ่ง", "รองเท้า", "ชาเขียว"),
        ("trouserss", "trousers", "jacket"),
    ],
)
def test_texts_that_share_parts_are_more_similar(text: str, near: str, far: str) -> None:
    assert feature(text) @ feature(near) > feature(text) @ feature(far) + 0.1


def test_bytes_that_are_no_text_are_rejected() -> None:
    assert record_error_reason(ENCODER.decode, b"\xff\xfe\x00") == "undecodable"
    assert record_error_reason(ENCODER.decode, b" \n\t") == "empty"
    assert ENCODER.decode(b"\xef\xbb\xbfhello") == "hello"


def test_long_text_is_truncated() -> None:
    start = "word " * (MAX_CHARS // 5 + 1)
    texts = [ENCODER.decode((start + end).encode()) for end in ("", "tail " * 99)]
    np.testing.assert_array_equal(feature(texts[0]), feature(texts[1]))


@pytest.mark.parametrize("dim", [0, -4, 62, 65, 4096.0, "4096"])
def test_invalid_dim_is_an_error(dim: Any) -> None:
    with pytest.raises(MmfeatError, match="dim must be even"):
        HashedNgrams(dim=dim)


def test_identity_is_json_with_all_options() -> None:
    identity = HashedNgrams(dim=512).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity != ENCODER.identity()
    assert {"name", "version", "dim", "ngrams", "unicode", "max_chars"} <= identity.keys()
    assert HashedNgrams(dim=512).encode(["a"]).shape == (1, 512)


def test_import_is_light() -> None:
    assert heavy_imports("mmfeat.encoders.builtin.ngrams") == "[]"
