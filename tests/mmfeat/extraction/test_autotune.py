import io
import time
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.gpu_decoding import GpuDecoder
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.extraction.tuning.autotune import autotune, relative_losses


class Timed(Encoder):
    """An encoder with a fixed speed and error per precision."""

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
    """Loads `Timed`."""

    def load(self, settings=None):
        return Timed(settings.precision)


SPEC = Spec("text", "text", "timed", "timed")
MEMBERS = [b"a", b"bad", b"ccc", b"dddd"]


def tuned_settings(precision, members=MEMBERS):
    return autotune(SPEC, Settings(precision=precision), members, 0)[1]


@pytest.fixture(autouse=True)
def _defaults(monkeypatch):
    monkeypatch.setattr(Timed, "error", dict(Timed.error))
    monkeypatch.setattr(Timed, "seconds", dict(Timed.seconds))


def test_picks_the_fastest_accurate_precision():
    encoder, tuned = autotune(SPEC, Settings(precision="auto"), MEMBERS, 0)
    assert encoder.precision == tuned.precision == "bfloat16"
    measured = tuned.measured["precision"]["bfloat16"]
    assert 0.999 < measured["cosine_mean"] <= 1
    assert measured["records_per_second"] > 0


def test_inaccurate_precision_is_not_picked():
    Timed.error["bfloat16"] = 0.5
    assert tuned_settings("auto").precision == "float32"


def test_slow_precision_is_not_picked():
    Timed.seconds["bfloat16"] = 0.06
    assert tuned_settings("auto").precision == "float32"


def test_requested_precision_and_batch_size_are_kept():
    encoder, tuned = autotune(SPEC, Settings(precision="bfloat16"), MEMBERS, 8)
    assert encoder.precision == tuned.precision == "bfloat16"
    assert tuned.batch_size == 8
    assert "precision" not in tuned.measured


def test_batch_grows_while_it_gets_faster():
    assert tuned_settings("float32").batch_size == 64


def test_one_slow_batch_size_does_not_end_the_search(monkeypatch):
    def encode(self, batch):
        time.sleep({8: 0.008, 16: 0.02, 32: 0.016, 64: 0.064}.get(len(batch), 0))
        return np.ones((len(batch), 3))

    monkeypatch.setattr(Timed, "encode", encode)
    tuned = tuned_settings("float32")
    assert tuned.batch_size == 32
    assert list(tuned.measured["batch_size"]) == ["8", "16", "32", "64"]


def test_two_slow_batch_sizes_end_the_search(monkeypatch):
    def encode(self, batch):
        time.sleep(0.002 * len(batch))
        return np.ones((len(batch), 3))

    monkeypatch.setattr(Timed, "encode", encode)
    tuned = tuned_settings("float32")
    assert tuned.batch_size == 8
    assert list(tuned.measured["batch_size"]) == ["8", "16", "32"]


def test_defaults_without_usable_records():
    tuned = tuned_settings("auto", [b"bad"])
    assert (tuned.precision, tuned.batch_size) == ("float32", 64)


def test_encoder_without_precisions_keeps_its_defaults():
    spec = EncoderSpec.parse("text=builtin:text")
    encoder, tuned = autotune(spec, Settings(precision="auto"), MEMBERS, 0)
    assert (tuned.batch_size, tuned.measured) == (encoder.batch_size, {})


class Colors(Encoder):
    """Encodes a picture as its pixels; a GPU decodes it at once, and in one of several ways."""

    modality = "image"
    dim = 3 * 8 * 8
    can_decode_on_gpu = True
    transform = ImageTransform(size=8, resize=8, reduced=False)

    def __init__(self, on_gpu=None):
        self.on_gpu_way = on_gpu

    def identity(self):
        return {"name": "colors", "precision": "float32"}

    def decode(self, data):
        if self.on_gpu_way:
            return self.on_gpu_way(data)
        time.sleep(0.002)
        return self.transform.decode(data)

    def encode(self, batch):
        return np.stack(batch).reshape(len(batch), -1).astype(np.float32) - 127

    def decoding_on_gpu(self):
        return Colors(WAYS["decode"])


def decode_well(data):
    decoder = GpuDecoder(Colors.transform, torch.device("cpu"))
    return decoder.decode([decoder.accept(data)])[0].numpy()


def swap_channels(data):
    return decode_well(data)[::-1]


def ignore_orientation(data):
    with Image.open(io.BytesIO(data)) as image:
        return Colors.transform.resize_and_crop(image.convert("RGB"))


WAYS = {}


def photos():
    """Sixteen smooth pictures, stored with the EXIF orientation of a phone."""
    rng = np.random.default_rng(0)
    tags = Image.Exif()
    tags[0x112] = 6
    for _ in range(16):
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((64, 64)).save(buffer, "JPEG", quality=95, exif=tags)
        yield buffer.getvalue()


class ColorsSpec(EncoderSpec):
    def load(self, settings=None):
        return Colors()


@pytest.mark.parametrize(
    ("way", "chosen"), [(decode_well, "gpu"), (swap_channels, "cpu"), (ignore_orientation, "cpu")]
)
def test_a_gpu_decodes_if_its_features_are_those_of_the_cpu(monkeypatch, way, chosen):
    pytest.importorskip("torchcodec")
    monkeypatch.setitem(WAYS, "decode", way)
    spec = ColorsSpec("image", "image", "colors", "colors")
    encoder, tuned = autotune(spec, Settings(decode="auto"), list(photos()), 16)
    assert tuned.decode == tuned.measured["decode"]["chosen"] == chosen
    assert bool(encoder.on_gpu_way) == (chosen == "gpu")
    assert tuned.measured["decode"]["gpu"]["records_per_second"] > 0


def test_losses_are_relative_to_the_spread():
    exact = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert relative_losses(exact, exact) == (0, 0)
    turned = exact[[1, 0, 2]]
    assert relative_losses(turned, exact) == (pytest.approx(2 / 3), 1)
    assert relative_losses(exact[:1], exact[:1])[0] == np.inf
