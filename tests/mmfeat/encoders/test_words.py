"""Encoders of words: recurrent networks and word vectors."""

import gzip

import numpy as np
import pytest
import torch

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.rnn import RecurrentText, save
from mmfeat.errors import MmfeatError, RecordError
from tests.mmfeat.encoders.checks import assert_alone_as_together, assert_they_differ, features
from tests.mmfeat.refusals import told_in_one_line

WORDS = ["<unk>", "a", "cat", "dog", "sleeps", "!", "the"]
TEXTS = [b"a cat sleeps", b"The dog!", b"an unknown beast", b"a", b"the cat the dog the cat"]


def recurrent(folder, **changes):
    config = {
        "kind": "gru", "embedding": 8, "hidden": 6, "layers": 2,
        "bidirectional": True, "pooling": "last", **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    save(str(folder), RecurrentText(len(WORDS), config), config, WORDS)
    return EncoderSpec.parse(f"text=rnn:{folder}")


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_encoder_gives_a_text_the_same_vector_in_any_batch(
    tmp_path, kind, pooling, bidirectional
):
    spec = recurrent(tmp_path, kind=kind, pooling=pooling, bidirectional=bidirectional)
    encoder = spec.load()
    assert encoder.dim == (12 if bidirectional else 6)
    together = assert_alone_as_together(encoder, TEXTS, atol=1e-6)
    assert_they_differ(*together[:2], by=1e-3)


def test_the_order_of_words_matters_to_a_recurrent_encoder(tmp_path):
    encoder = recurrent(tmp_path).load()
    one, other = features(encoder, [b"the cat a dog", b"a dog the cat"])
    assert_they_differ(one, other)


def test_the_identity_is_what_the_directory_holds_and_not_where_it_lies(tmp_path):
    here, there = recurrent(tmp_path / "a").load(), recurrent(tmp_path / "b").load()
    assert here.identity() == there.identity()
    assert recurrent(tmp_path / "c", kind="lstm").load().identity() != here.identity()
    spec = EncoderSpec.parse(f"text=rnn:{tmp_path / 'a'}")
    assert spec.load(Settings(precision="bfloat16")).identity() != here.identity()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", '{"kind": "tape"}', "needs a config.json with kind"),
        ("vocabulary.txt", "a\na\n", "must stand there once"),
        ("model.safetensors", "no tensors", "cannot be loaded"),
        ("vocabulary.txt", "a\nb\n", "cannot be loaded"),
    ],
)
def test_a_directory_that_does_not_fit_together_is_one_clear_line(tmp_path, name, content, says):
    spec = recurrent(tmp_path)
    (tmp_path / name).write_text(content)
    with told_in_one_line(says):
        spec.load()


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.vec.gz"
    path.write_bytes(gzip.compress(b"3 2\ncat 1 0\ndog 0 2\nfish 0.5 0.5\n"))
    return path


def test_word_vectors_are_averaged_over_the_words_that_are_known(vectors):
    encoder = EncoderSpec.parse(f"text=embedding:{vectors}").load()
    assert encoder.dim == 2
    found = features(encoder, [b"Cat", b"a cat and a dog"])
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5]])
    with pytest.raises(RecordError, match="none of its words"):
        encoder.decode(b"nothing known")
    fewer = EncoderSpec.parse(f"text=embedding:{vectors}?words=1").load()
    assert fewer.identity() != encoder.identity()


@pytest.mark.parametrize(
    ("content", "says"),
    [("cat 1 0\ndog 1\n", "must have 2 numbers"), ("cat x y\n", "line 1"), ("", "must hold")],
)
def test_a_file_of_something_else_is_one_clear_line(tmp_path, content, says):
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(MmfeatError, match=says):
        EncoderSpec.parse(f"text=embedding:{path}").load()
