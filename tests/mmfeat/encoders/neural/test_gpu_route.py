"""Images of which a GPU decodes some, from views of a tar to features. The CPU plays the GPU."""

import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmfeat.encoders import Settings
from mmfeat.encoders.neural.gpu_decoding import GpuDecoder, PlainJpeg
from mmfeat.encoders.neural.image_encoder import ImageEncoder
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.errors import RecordError

pytest.importorskip("torchcodec")

TRANSFORM = ImageTransform(32, 32, reduced=False)


def picture(number, format_="JPEG", **options):
    rows, columns = np.mgrid[:48, :64]
    waves = [np.sin(rows / (3 + number)), np.cos(columns / (5 + number)), np.sin(rows * columns)]
    pixels = (127 + 120 * np.stack(waves, axis=2)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def in_one_block(files):
    """Return views of one writable buffer, as the reader of tars does."""
    block = memoryview(bytearray(b"".join(files)))
    ends = np.cumsum([len(file) for file in files])
    return [block[end - len(file) : end] for file, end in zip(files, ends, strict=True)]


@pytest.fixture
def encoders():
    def forward(module, inputs):
        return module(inputs["pixels"]).flatten(1)

    runtime = Runtime(nn.AdaptiveAvgPool2d(4), Settings("cpu"), forward)
    on_cpu = ImageEncoder("test", TRANSFORM, runtime, {}, Settings("cpu"), "pooled", 0)
    on_gpu = copy.copy(on_cpu)
    on_gpu._decoder = GpuDecoder(TRANSFORM, torch.device("cpu"))
    return on_cpu, on_gpu


def test_features_of_mixed_files_are_those_of_the_cpu_in_order(encoders):
    on_cpu, on_gpu = encoders
    options = {"quality": 95, "subsampling": 0}
    files = [
        picture(0, **options),
        picture(1, "PNG"),
        picture(2, **options, progressive=True),
        picture(3, "WEBP", lossless=True),
        picture(4, **options),
    ]
    views = in_one_block(files)
    kept = [isinstance(on_gpu.keep(view), PlainJpeg) for view in views]
    assert kept == [True, False, True, False, True]
    assert on_cpu.keep(views[0]) is None
    actual = on_gpu.encode([on_gpu.decode(view) for view in views])
    expected = on_cpu.encode([on_cpu.decode(file) for file in files])
    np.testing.assert_allclose(actual, expected, atol=0.02)
    assert np.abs(expected[0] - expected[1]).max() > 0.1


def test_the_cpu_decides_what_is_rejected(encoders):
    file = picture(0)
    for encoder in encoders:
        with pytest.raises(RecordError, match="undecodable"):
            encoder.decode(memoryview(file[: len(file) // 2]))


def test_a_batch_with_a_file_that_the_decoder_refuses_is_decoded_in_parts(encoders, monkeypatch):
    on_cpu, on_gpu = encoders
    files = [picture(number, quality=95, subsampling=0) for number in range(5)]
    decode, calls = GpuDecoder.decode, []

    def refuse(self, batch):
        calls.append(len(batch))
        if any(bytes(file.data) == files[3] for file in batch):
            raise RuntimeError("nvJPEG says no")
        return decode(self, batch)

    monkeypatch.setattr(GpuDecoder, "decode", refuse)
    actual = on_gpu.encode([on_gpu.decode(view) for view in in_one_block(files)])
    expected = on_cpu.encode([on_cpu.decode(file) for file in files])
    np.testing.assert_allclose(actual, expected, atol=0.02)
    assert calls[0] == 5
    assert 1 in calls
