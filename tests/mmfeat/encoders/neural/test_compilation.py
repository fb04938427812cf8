"""Compiled forward passes. Toy compilers play the real one, which takes seconds."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmfeat.encoders import CompileError, EncoderSpec, Settings
from mmfeat.encoders.neural import compilation
from mmfeat.encoders.neural.image_encoder import ImageEncoder
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.extraction import encode_batch
from mmfeat.extraction.tuning import autotune
from mmfeat.features import FeatureShape
from tests.mmfeat.samples import image_bytes
from tests.programs import run_python

SIDE = 8


def make_encoder(precision="float32"):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(3, 4, 4), nn.GELU(), nn.Flatten(), nn.Linear(100, 6))
    settings = Settings("cpu", precision)
    runtime = Runtime(module, settings, lambda model, inputs: model(inputs["pixels"]))
    return ImageEncoder("toy", ImageTransform(SIDE, SIDE), runtime, {}, settings, "pooled", 0)


def pictures(count):
    return [*np.random.default_rng(1).integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)]


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of the inputs that the compiler compiles for."""
    compiled = []

    def compile_(graph, inputs):
        compiled.append(next(tuple(value.shape) for value in inputs if value.shape[-1] == SIDE))
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", compile_)
    return compiled


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_features_are_those_of_the_uncompiled_module(monkeypatch, backend, precision):
    monkeypatch.setattr(compilation, "BACKEND", backend)
    encoder = make_encoder(precision)
    compiled = encoder.compiled(4)
    for count in (1, 3, 4, 5, 11):
        expected = encoder.encode(pictures(count))
        np.testing.assert_allclose(compiled.encode(pictures(count)), expected, atol=0.02)
    assert compiled.identity() == encoder.identity()
    assert compiled.encode([]).shape == (0, 6)


def test_every_batch_has_the_shape_that_was_compiled(shapes):
    compiled = make_encoder().compiled(4)
    for count in (1, 3, 4, 9):
        compiled.encode(pictures(count))
    assert shapes == [(4, 3, SIDE, SIDE)]


def test_a_feature_does_not_depend_on_its_batch(shapes):
    compiled = make_encoder().compiled(4)
    together = compiled.encode(pictures(4))
    for row, picture in enumerate(pictures(4)):
        np.testing.assert_array_equal(compiled.encode([picture])[0], together[row])


def test_all_threads_share_what_was_compiled(shapes):
    compiled = make_encoder().compiled(4)
    with ThreadPoolExecutor(3, initializer=compiled.prepare_thread) as pool:
        batches = list(pool.map(compiled.encode, [pictures(4)] * 12))
    assert len(shapes) == 1
    assert all((batch == batches[0]).all() for batch in batches)


@pytest.fixture
def two_threads():
    """More threads than those that encode have: torch compiles for a number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
def test_autotuning_compiles_once(shapes):
    spec = replace(EncoderSpec.parse("image=hf:toy"), name="toy")
    files = [image_bytes(Image.fromarray(picture.transpose(1, 2, 0))) for picture in pictures(6)]
    settings = Settings("cpu", compile="on", threads=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderSpec, "load", lambda *_: make_encoder())
        _, tuned = autotune(spec, settings, files, 4, 100)
    assert tuned.compile
    assert [shape[0] for shape in shapes] == [4]


def test_another_size_compiles_the_same_module_again(shapes):
    encoder = make_encoder()
    compiled = encoder.compiled(4)
    smaller = compiled.compiled(2)
    assert len(shapes) == 1  # at its first batch
    expected = encoder.encode(pictures(3))
    np.testing.assert_allclose(smaller.encode(pictures(3)), expected, atol=1e-5)
    np.testing.assert_allclose(compiled.encode(pictures(3)), expected, atol=1e-5)
    assert [shape[0] for shape in shapes] == [4, 2]


def test_many_sizes_stay_compiled(shapes):
    """torch returns to the uncompiled module after eight, without a word."""
    compiled = make_encoder().compiled(1)
    with ThreadPoolExecutor(1, initializer=compiled.prepare_thread) as pool:
        for rows in range(2, 14):
            pool.submit(compiled.compiled(rows).encode, pictures(3)).result()
    assert [shape[0] for shape in shapes] == [*range(1, 14)]


def refuse(graph, inputs):
    raise RuntimeError("no compiler\n\nSet TORCHDYNAMO_VERBOSE=1")


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", refuse)
    with pytest.raises(CompileError, match=r"torch\.compile fails: .*no compiler") as caught:
        make_encoder().compiled(4)
    assert "\n" not in str(caught.value)


def test_a_compiler_that_fails_later_fails_no_record(monkeypatch, shapes):
    compiled = make_encoder().compiled(4)

    def fail(module, inputs):
        torch._dynamo.graph_break  # noqa: B018 - imports it
        raise torch._dynamo.exc.Unsupported("not any more")

    monkeypatch.setattr(compiled._runtime._forward, "_compiled", fail)
    with pytest.raises(CompileError, match="not any more"):
        encode_batch(compiled, pictures(2), FeatureShape(6))


def test_out_of_memory_is_the_callers_to_handle(monkeypatch, shapes):
    compiled = make_encoder().compiled(4)

    def fail(module, inputs):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(compiled._runtime._forward, "_compiled", fail)
    with pytest.raises(torch.OutOfMemoryError):
        compiled.encode(pictures(2))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_real_compiler_keeps_the_features(precision):
    encoder = make_encoder(precision)
    compiled = encoder.compiled(4)
    with ThreadPoolExecutor(2, initializer=compiled.prepare_thread) as pool:
        batches = list(pool.map(compiled.encode, [pictures(3)] * 4))
    for batch in batches:
        np.testing.assert_array_equal(batch, batches[0])
        np.testing.assert_allclose(batch, encoder.encode(pictures(3)), atol=0.02)


PROGRAM = """
from mmfeat.encoders import CompileError
from tests.mmfeat.encoders.neural.test_compilation import make_encoder
try:
    make_encoder().compiled(4)
except CompileError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_a_cpp_compiler_the_real_one_fails_in_one_line(tmp_path):
    printed = run_python(PROGRAM, PATH="", TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert printed.startswith("torch.compile fails: ")
    assert printed.count("\n") == 1
