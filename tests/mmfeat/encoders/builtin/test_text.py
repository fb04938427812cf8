"""`builtin:text` distinguishes texts of every script, the same in every process."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfeat.encoders.builtin import text as text_module
from mmfeat.encoders.builtin.text import MAX_CHARS, TextNgrams
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.errors import record_error_reason
from tests.programs import run_python

ENCODER = TextNgrams()


def feature(text: str) -> np.ndarray:
    return ENCODER.encode([text])[0]


def similarity(one: str, other: str) -> float:
    return float(feature(one) @ feature(other)) / 2  # two parts, each of length 1


GOLDEN = "Red apple 红苹果 🍎"
GOLDEN_CODE = (
    "from mmfeat.encoders.builtin.text import TextNgrams\n"
    f"v = TextNgrams(dim=64).encode([{GOLDEN!r}])[0]\n"
    "print([round(float(x), 4) for x in v])"
)
# fmt: off
GOLDEN_VALUES = [
    -0.7947, 0, 0, 0, 0, 0.3974, 0.1325, 0,
    0, -0.2649, 0, 0, 0, 0, 0, 0,
    0, 0, 0, -0.1325, 0, -0.1325, 0.1325, 0,
    0, 0, 0, 0.2649, 0, 0, 0, 0,
    -0.1266, 0, 0.1266, 0, 0, 0, -0.0878, 0,
    -0.1266, 0, 0, -0.2533, 0, -0.3799, -0.2144, -0.1266,
    -0.1266, -0.1266, 0, 0.1266, 0.3799, 0, -0.1266, 0.2533,
    -0.2533, 0, 0.3799, -0.2533, -0.2533, 0, -0.2533, 0,
]
# fmt: on


def test_values_are_unchanged() -> None:
    values = TextNgrams(dim=64).encode([GOLDEN])[0]
    np.testing.assert_allclose(values, GOLDEN_VALUES, atol=1e-4)


@pytest.mark.parametrize("seed", ["0", "1234"])
def test_values_are_the_same_in_another_process(seed: str) -> None:
    output = run_python(GOLDEN_CODE, PYTHONHASHSEED=seed)
    assert json.loads(output) == pytest.approx(GOLDEN_VALUES, abs=1e-4)


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
    encoder = TextNgrams(dim=64)
    alone = [encoder.encode([text])[0] for text in texts]
    np.testing.assert_array_equal(encoder.encode(texts), np.reshape(alone, (-1, 64)))


def test_texts_of_many_blocks_have_their_features(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"red apple {number}" for number in range(50)]
    together = ENCODER.encode(texts)
    monkeypatch.setattr(text_module, "_BLOCK_VALUES", 1)
    np.testing.assert_array_equal(ENCODER.encode(texts), together)


@given(st.text(st.characters(), max_size=60))
@settings(max_examples=200, deadline=None)
def test_both_halves_of_a_vector_have_length_one(text: str) -> None:
    try:
        decoded = ENCODER.decode(text.encode("utf-8", "surrogatepass"))
    except RecordError as error:
        assert error.reason in ("empty", "undecodable")  # noqa: PT017
        return
    vector = feature(decoded)
    assert vector.shape == (ENCODER.dim,)
    assert np.isfinite(vector.astype(np.float16)).all()
    cut = ENCODER.dim // 2
    assert np.linalg.norm(vector[:cut]) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(vector[cut:]) == pytest.approx(1, abs=1e-5)


@given(st.text(st.sampled_from("abc我你🍎é "), min_size=1, max_size=12).map(str.strip))
@settings(max_examples=100, deadline=None)
def test_one_more_letter_changes_the_vector(text: str) -> None:
    assert not np.array_equal(feature(text), feature(text + "z"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("not good, bad", "bad, not good at all"),
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
        ("🍎🍏", "🍏", "🚗"),
        ("รองเท้าวิ่ง", "รองเท้า", "ชาเขียว"),
        ("<b>tea</b> http://a.org/tea", "tea", "car"),
    ],
)
def test_texts_that_share_parts_are_more_similar(text: str, near: str, far: str) -> None:
    assert similarity(text, near) > similarity(text, far) + 0.1


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", "é".encode("latin-1"), b"\xed\xa0\x80"])
def test_other_encodings_are_undecodable(data: bytes) -> None:
    assert record_error_reason(ENCODER.decode, data) == "undecodable"


@pytest.mark.parametrize("text", ["", " \n\t", "\ufeff", "\u3000\xa0", "\u200b\u200d", "\x00\x07"])
def test_invisible_text_is_empty(text: str) -> None:
    assert record_error_reason(ENCODER.decode, text.encode()) == "empty"


def test_byte_order_mark_is_removed() -> None:
    assert ENCODER.decode(b"\xef\xbb\xbfhello") == "hello"


def test_long_text_is_truncated() -> None:
    start = "word " * (MAX_CHARS // 5 + 1)
    vectors = ENCODER.encode([ENCODER.decode((start + end).encode()) for end in ("", "tail " * 99)])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert len(ENCODER.decode((start * 50).encode())) == MAX_CHARS


@pytest.mark.parametrize("unit", ["\u0315\u0300", "ﷺ", "a b c ", "我们", "x"])
def test_hostile_megabyte_is_cheap(unit: str) -> None:
    data = ("a" + unit * (1_000_000 // len(unit.encode()))).encode()
    start = time.process_time()
    vector = feature(ENCODER.decode(data))
    assert time.process_time() - start < 3
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("dim", [0, -4, 62, 65, 4096.0, "4096"])
def test_invalid_dim_is_an_error(dim: Any) -> None:
    with pytest.raises(MmfeatError, match="dim must be even"):
        TextNgrams(dim=dim)


def test_identity_is_json_with_all_options() -> None:
    identity = TextNgrams(dim=512).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity != ENCODER.identity()
    assert {"name", "version", "dim", "unicode", "max_chars"} <= identity.keys()
    assert TextNgrams(dim=512).encode(["a"]).shape == (1, 512)
