"""What is settled by measuring before a column is begun."""

import time
from typing import ClassVar

import numpy as np
import pytest

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.base import Encoder
from mmfeat.extraction.autotune import settle


class Timed(Encoder):
    """Each precision has its speed and its error."""

    modality = "text"
    dim = 3
    batch_size = 64
    seconds: ClassVar = {"float32": 0.02, "bfloat16": 0.002}
    error: ClassVar = {"float32": 0.0, "bfloat16": 0.001}

    def __init__(self, precision):
        self.precision = precision

    def identity(self):
        return {"name": "timed", "precision": self.precision}

    def decode(self, data):
        return data.decode()

    def encode(self, batch):
        if "bad" in batch:
            raise RuntimeError("no such text")
        time.sleep(self.seconds[self.precision])
        offset = self.error[self.precision]
        return np.array([[len(text), 1 + offset, -1 + offset * len(text)] for text in batch])


class Spec(EncoderSpec):
    """Loads the encoder above."""

    def load(self, settings=None):
        return Timed(settings.precision)


SPEC = Spec("text", "text", "timed", "timed")
MEMBERS = [b"a", b"bad", b"ccc", b"dddd"]


@pytest.fixture(autouse=True)
def _defaults(monkeypatch):
    monkeypatch.setattr(Timed, "error", dict(Timed.error))
    monkeypatch.setattr(Timed, "seconds", dict(Timed.seconds))


def test_the_fastest_precision_is_taken_that_gives_the_features_of_float32():
    encoder, settled = settle(SPEC, Settings(precision="auto"), MEMBERS, 0)
    assert encoder.precision == settled.precision == "bfloat16"
    figures = settled.measured["precision"]["bfloat16"]
    assert 0.999 < figures["cosine_mean"] <= 1
    assert figures["records_per_second"] > 0


def test_a_precision_that_gives_other_features_is_not_taken_however_fast():
    Timed.error["bfloat16"] = 0.5
    assert settle(SPEC, Settings(precision="auto"), MEMBERS, 0)[1].precision == "float32"


def test_a_slower_precision_is_not_taken_however_exact():
    Timed.seconds["bfloat16"] = 0.06
    assert settle(SPEC, Settings(precision="auto"), MEMBERS, 0)[1].precision == "float32"


def test_a_precision_that_was_asked_for_is_not_questioned():
    encoder, settled = settle(SPEC, Settings(precision="bfloat16"), MEMBERS, 8)
    assert encoder.precision == settled.precision == "bfloat16"
    assert settled.batch_size == 8
    assert "precision" not in settled.measured


def test_the_batch_grows_while_that_pays():
    assert settle(SPEC, Settings(precision="float32"), MEMBERS, 0)[1].batch_size == 64


def test_one_size_that_is_slower_does_not_end_the_search(monkeypatch):
    def encode(self, batch):
        time.sleep({8: 0.008, 16: 0.02, 32: 0.016, 64: 0.064}.get(len(batch), 0))
        return np.ones((len(batch), 3))

    monkeypatch.setattr(Timed, "encode", encode)
    settled = settle(SPEC, Settings(precision="float32"), MEMBERS, 0)[1]
    assert settled.batch_size == 32
    assert list(settled.measured["batch_size"]) == ["8", "16", "32", "64"]


def test_the_search_ends_where_two_sizes_in_a_row_are_no_faster(monkeypatch):
    def encode(self, batch):
        time.sleep(0.002 * len(batch))
        return np.ones((len(batch), 3))

    monkeypatch.setattr(Timed, "encode", encode)
    settled = settle(SPEC, Settings(precision="float32"), MEMBERS, 0)[1]
    assert settled.batch_size == 8
    assert list(settled.measured["batch_size"]) == ["8", "16", "32"]


def test_without_records_the_defaults_stand():
    settled = settle(SPEC, Settings(precision="auto"), [b"bad"], 0)[1]
    assert (settled.precision, settled.batch_size) == ("float32", 64)


def test_an_encoder_without_precisions_is_left_alone():
    spec = EncoderSpec.parse("text=builtin:text")
    encoder, settled = settle(spec, Settings(precision="auto"), MEMBERS, 0)
    assert (settled.batch_size, settled.measured) == (encoder.batch_size, {})
