import io
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.gpu_decoding import GpuDecoder
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.extraction.tuning import autotune
from mmfeat.extraction.tuning.quality import Losses


class Clock:
    """A clock that only encoders move, so that a busy machine changes no result."""

    now = 0.0

    def perf_counter(self):
        self.now += 1e-9
        return self.now


CLOCK = Clock()


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
        CLOCK.now += self.seconds[self.precision]
        offset = self.error[self.precision]
        return np.array([[len(text), 1 + offset, -1 + offset * len(text)] for text in batch])


class Spec(EncoderSpec):
    """Loads `Timed`."""

    def load(self, settings=None):
        return Timed(settings.precision)


SPEC = Spec("text", "text", "timed", "timed")
MEMBERS = [b"a", b"bad", b"ccc", b"dddd"]
RECORDS = 1_000_000


def tuned_settings(precision, members=MEMBERS, records=RECORDS):
    return autotune(SPEC, Settings(precision=precision), members, 0, records)[1]


@pytest.fixture(autouse=True)
def _defaults(monkeypatch):
    for module in ("sample", "batch_size"):
        monkeypatch.setattr(f"mmfeat.extraction.tuning.{module}.time", CLOCK)
    monkeypatch.setattr(Timed, "error", dict(Timed.error))
    monkeypatch.setattr(Timed, "seconds", dict(Timed.seconds))


def test_picks_the_fastest_accurate_precision():
    encoder, tuned = autotune(SPEC, Settings(precision="auto"), MEMBERS, 0, RECORDS)
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
    encoder, tuned = autotune(SPEC, Settings(precision="bfloat16"), MEMBERS, 8, RECORDS)
    assert encoder.precision == tuned.precision == "bfloat16"
    assert tuned.batch_size == 8
    assert "precision" not in tuned.measured


def test_a_precision_is_cast_if_the_encoder_can():
    class Cast(Timed):
        def at_precision(self, precision):
            return Cast(precision)

    class CastSpec(EncoderSpec):
        loads = 0

        def load(self, settings=None):
            CastSpec.loads += 1
            return Cast(settings.precision)

    spec = CastSpec("text", "text", "timed", "timed")
    encoder, _ = autotune(spec, Settings(precision="auto"), MEMBERS, 0, RECORDS)
    assert (encoder.precision, CastSpec.loads) == ("bfloat16", 1)


@pytest.mark.parametrize("error", [0.001, 0.5])
def test_a_gpu_takes_the_first_accurate_half_precision(monkeypatch, error):
    monkeypatch.setattr(Timed, "on_gpu", True)
    monkeypatch.setattr(Timed, "half_precisions", ("bfloat16", "float16"))
    Timed.error.update(bfloat16=error, float16=0.0)
    Timed.seconds["float16"] = 0.0
    tuned = tuned_settings("auto")
    assert tuned.precision == ("bfloat16" if error < 0.1 else "float16")
    assert "float32" not in tuned.measured["precision"]


def test_similar_speeds_are_measured_again(monkeypatch):
    Timed.seconds["bfloat16"] = 0.018
    calls = Counter()
    encode = Timed.encode

    def counted(self, batch):
        calls[self.precision] += 1
        return encode(self, batch)

    monkeypatch.setattr(Timed, "encode", counted)
    assert tuned_settings("auto", [b"a", b"cc"]).precision == "bfloat16"
    assert calls["float32"] > 2


def fixed_speed(monkeypatch, seconds):
    """Give each batch size a time."""

    def encode(self, batch):
        CLOCK.now += seconds(len(batch))
        return np.ones((len(batch), 3))

    monkeypatch.setattr(Timed, "encode", encode)


def test_the_smallest_of_the_fastest_batch_sizes_is_taken(monkeypatch):
    fixed_speed(monkeypatch, lambda size: 0.002 * size)
    tuned = tuned_settings("float32")
    assert tuned.batch_size == 8
    assert list(tuned.measured["batch_size"]) == ["32", "64", "16", "8"]


def test_a_large_batch_is_taken_if_it_is_faster():
    assert tuned_settings("float32").batch_size == 64


def test_few_records_do_not_pay_for_a_search(monkeypatch):
    fixed_speed(monkeypatch, lambda size: 0.002 * size)
    tuned = tuned_settings("float32", records=300)
    assert (tuned.batch_size, len(tuned.measured["batch_size"])) == (32, 0)


def test_a_gpu_tries_large_batches_first(monkeypatch):
    def seconds(size):
        if size > 32:
            raise RuntimeError("out of memory")
        return 0.001 * size

    monkeypatch.setattr(Timed, "on_gpu", True)
    fixed_speed(monkeypatch, seconds)
    tuned = tuned_settings("float32")
    assert list(tuned.measured["batch_size"]) == ["32", "16", "8"]
    assert tuned.batch_size == 8


def test_defaults_without_usable_records():
    tuned = tuned_settings("auto", [b"bad"])
    assert (tuned.precision, tuned.batch_size) == ("float32", 64)


def test_encoder_without_precisions_keeps_its_defaults():
    spec = EncoderSpec.parse("text=builtin:text")
    encoder, tuned = autotune(spec, Settings(precision="auto"), MEMBERS, 0, RECORDS)
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
        CLOCK.now += 0.002
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
    encoder, tuned = autotune(spec, Settings(decode="auto"), list(photos()), 16, RECORDS)
    assert tuned.decode == tuned.measured["decode"]["chosen"] == chosen
    assert bool(encoder.on_gpu_way) == (chosen == "gpu")
    assert tuned.measured["decode"]["gpu"]["records_per_second"] > 0


def test_losses_are_relative_to_the_spread():
    exact = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert Losses.measure(exact, exact) == (0, 0)
    turned = exact[[1, 0, 2]]
    assert Losses.measure(turned, exact) == (pytest.approx(2 / 3), 1)
    assert not Losses.measure(turned, exact).accepted


@pytest.mark.parametrize(
    ("features", "exact"),
    [(np.ones((1, 3)), np.ones((1, 3))), (np.ones((4, 3)), np.ones((4, 3)))],
    ids=["one record", "equal records"],
)
def test_losses_without_a_spread_are_not_accepted(features, exact):
    losses = Losses.measure(features, exact)
    assert not losses.accepted
    assert losses.facts() == {"loss_mean": None, "loss_max": None}


def test_a_precision_that_blurs_records_which_are_close_together_is_not_picked(monkeypatch):
    """Its cosine to float32 is .99999, and that between the records .9999."""

    def encode(self, batch):
        CLOCK.now += self.seconds[self.precision]
        blur = 0 if self.precision == "float32" else 0.005
        return np.array([[1, 0.01 * (len(text) % 3) + blur, 0] for text in batch])

    monkeypatch.setattr(Timed, "encode", encode)
    tuned = tuned_settings("auto", [b"a", b"bb", b"ccc"])
    measured = tuned.measured["precision"]["bfloat16"]
    assert measured["cosine_min"] > 0.9999
    assert tuned.precision == "float32"
