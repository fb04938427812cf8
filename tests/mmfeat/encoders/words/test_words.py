"""`rnn:` and `embedding:`, the encoders of whole words."""

import gzip
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.words.rnn import RecurrentModel, save
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import (
    assert_batch_independent,
    assert_cast_equals_loading,
    assert_features_differ,
    encode_all,
)
from tests.mmfeat.errors import assert_one_line_error

WORDS = ["<unk>", "a", "cat", "dog", "sleeps", "!", "the"]
TEXTS = [b"a cat sleeps", b"The dog!", b"an unknown beast", b"a", b"the cat the dog the cat"]


def save_rnn(folder, **changes):
    config = {
        "kind": "gru", "embedding": 8, "hidden": 6, "layers": 2,
        "bidirectional": True, "pooling": "last", **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    save(str(folder), RecurrentModel(len(WORDS), config), config, WORDS)
    return EncoderSpec.parse(f"text=rnn:{folder}")


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_rnn_features_do_not_depend_on_the_batch(tmp_path, kind, pooling, bidirectional):
    spec = save_rnn(tmp_path, kind=kind, pooling=pooling, bidirectional=bidirectional)
    encoder = spec.load()
    assert encoder.dim == (12 if bidirectional else 6)
    together = assert_batch_independent(encoder, TEXTS, atol=1e-6)
    assert_features_differ(*together[:2], by=1e-3)


def test_batches_of_a_cpu_are_small_and_have_a_core_each(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    encoder = save_rnn(tmp_path).load(Settings("cpu", threads=3))
    assert (encoder.budget, encoder.parallel_batches) == (2048, 3)


def test_a_prepared_thread_computes_on_one_core(tmp_path):
    encoder = save_rnn(tmp_path).load(Settings("cpu", threads=2))

    def count_threads():
        encoder.prepare_thread()
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(count_threads).result() == 1
    assert torch.get_num_threads() == 2


def test_rnn_features_depend_on_word_order(tmp_path):
    encoder = save_rnn(tmp_path).load()
    one, other = encode_all(encoder, [b"the cat a dog", b"a dog the cat"])
    assert_features_differ(one, other)


def test_rnn_identity_depends_on_content_not_path(tmp_path):
    encoder, copy = save_rnn(tmp_path / "a").load(), save_rnn(tmp_path / "b").load()
    assert encoder.identity() == copy.identity()
    assert save_rnn(tmp_path / "c", kind="lstm").load().identity() != encoder.identity()
    spec = EncoderSpec.parse(f"text=rnn:{tmp_path / 'a'}")
    half = spec.load(Settings(precision="bfloat16"))
    assert_cast_equals_loading(encoder, half, [b"the cat a dog", b"a dog"])


CLAIM = '{{"kind": "gru", "embedding": 8, "hidden": {hidden}, "layers": 64, "pooling": "last"}}'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"kind": "tape"}', "needs a config.json with kind"),
        ("config.json", '{"kind": {}, "hidden": "x"}', "needs a config.json with kind"),
        ("config.json", CLAIM.format(hidden=1 << 60), "needs a config.json with kind"),
        ("config.json", CLAIM.format(hidden=1 << 15), "cannot be loaded"),
        ("vocabulary.txt", "a\na\n", "must contain each word once"),
        ("model.safetensors", "no tensors", "cannot be loaded"),
        ("vocabulary.txt", "a\nb\n", "cannot be loaded"),
    ],
)
def test_inconsistent_rnn_directory_is_one_line(tmp_path, name, content, message):
    spec = save_rnn(tmp_path)
    (tmp_path / name).write_text(content)
    with assert_one_line_error(message):
        spec.load()


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.vec.gz"
    path.write_bytes(gzip.compress(b"3 2\ncat 1 0\ndog 0 2\nfish 0.5 0.5\n"))
    return path


def test_word_vectors_of_known_words_are_averaged(vectors):
    encoder = EncoderSpec.parse(f"text=embedding:{vectors}").load()
    assert encoder.dim == 2
    features = encode_all(encoder, [b"Cat", b"a cat and a dog"])
    np.testing.assert_allclose(features, [[1, 0], [0.5, 0.5]])
    with pytest.raises(RecordError, match="no word of the text"):
        encoder.decode(b"nothing known")
    fewer = EncoderSpec.parse(f"text=embedding:{vectors}?words=1").load()
    assert fewer.identity() != encoder.identity()


@pytest.mark.parametrize(
    ("content", "message"),
    [("cat 1 0\ndog 1\n", "must have 2 numbers"), ("cat x y\n", "line 1"), ("", "must contain")],
)
def test_invalid_word_vectors_are_an_error(tmp_path, content, message):
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(MmfeatError, match=message):
        EncoderSpec.parse(f"text=embedding:{path}").load()


@pytest.mark.parametrize("number", ["nan", "inf", "1e30"])
def test_word_vectors_must_be_finite(tmp_path, number):
    (tmp_path / "vectors.txt").write_text(f"cat 1 0\ndog {number} 0\n")
    with assert_one_line_error(r"line 2 must be a word and its numbers: NaN, infinite or too"):
        EncoderSpec.parse(f"text=embedding:{tmp_path / 'vectors.txt'}").load()


def test_a_line_of_word_vectors_is_bounded(tmp_path):
    path = tmp_path / "vectors.vec.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(b"1" * (1 << 20))
    with pytest.raises(MmfeatError, match="line 1 must be shorter than"):
        EncoderSpec.parse(f"text=embedding:{path}").load()
