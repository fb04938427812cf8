"""What one GPU can do at most: the forward alone, and decoding JPEG with nvJPEG and resizing."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.run import count_cores
from mmfeat.system import print_err

_SIDE = 224
_SECONDS = 1.0
_FORWARD_BATCHES = (64, 256)
_DECODE_BATCH = 256
_CHUNK = 16


@dataclass
class ForwardRates:
    """The forward pass alone, pixels on the device."""

    eager: dict[int, float]
    """Batch size → images per second."""
    compiled: float | None = None
    """Images per second of the larger batch, compiled; None if the compiler fails."""
    compile_s: float = 0.0
    """Seconds of compiling."""

    @property
    def best(self) -> float:
        """Images per second without compiling, with the better batch size."""
        return max(self.eager.values())


def measure_forward(model: Path, device: str) -> ForwardRates:
    """Measure a CLIP tower in bfloat16."""
    import torch
    from transformers import CLIPVisionModelWithProjection

    module = CLIPVisionModelWithProjection.from_pretrained(model, dtype=torch.bfloat16)
    module = module.eval().to(device)
    rates = ForwardRates({})
    with torch.inference_mode():
        for size in _FORWARD_BATCHES:
            pixels = torch.rand(size, 3, _SIDE, _SIDE, device=device, dtype=torch.bfloat16)
            rates.eager[size] = _measure_rate(lambda: module(pixel_values=pixels), size)  # noqa: B023
        compiled = torch.compile(module, dynamic=False)
        started = perf_counter()
        try:
            compiled(pixel_values=pixels)
        except Exception as error:
            line = str(error).strip().splitlines()[:1]
            print_err(f"extract_gpu: torch.compile fails: {type(error).__name__}: {line}")
            return rates
        rates.compile_s = perf_counter() - started
        rates.compiled = _measure_rate(lambda: compiled(pixel_values=pixels), len(pixels))
    return rates


def measure_gpu_decoding(photos: Sequence[bytes], device: str) -> dict[str, float]:
    """Return images per second of nvJPEG alone and with resizing; empty without a decoder."""
    import torch
    from torch.nn.functional import interpolate

    decode = _find_decoder(device)
    if decode is None:
        return {}
    files = [torch.frombuffer(bytearray(photo), dtype=torch.uint8) for photo in photos]
    batch = files[:_DECODE_BATCH]
    size = (_SIDE, round(_SIDE * 4 / 3))

    def resize() -> Any:
        pixels = torch.stack(decode(batch)).float()
        return interpolate(pixels, size=size, mode="bicubic", antialias=True)

    return {
        "nvjpeg": _measure_rate(lambda: decode(batch), len(batch)),
        "nvjpeg_resized": _measure_rate(resize, len(batch)),
    }


def measure_cpu_decoding(decode: Callable[[bytes], Any], photos: Sequence[bytes]) -> float:
    """Return images per second of an encoder's `decode` in one process per core.

    Processes share no lock of an interpreter, so this is what all cores can do.
    """
    with ProcessPoolExecutor(
        count_cores(),
        multiprocessing.get_context("fork"),
        initializer=_Decoding.start,
        initargs=(decode, photos),
    ) as pool:
        chunks = [range(i, min(i + _CHUNK, len(photos))) for i in range(0, len(photos), _CHUNK)]
        list(pool.map(_Decoding.run, chunks))
        started = perf_counter()
        list(pool.map(_Decoding.run, chunks))
        return len(photos) / (perf_counter() - started)


class _Decoding:
    """What the processes of `measure_cpu_decoding` decode. They inherit it."""

    decode: Callable[[bytes], Any]
    photos: Sequence[bytes]

    @classmethod
    def start(cls, decode: Callable[[bytes], Any], photos: Sequence[bytes]) -> None:
        cls.decode, cls.photos = staticmethod(decode), photos

    @classmethod
    def run(cls, indices: Sequence[int]) -> None:
        for index in indices:
            cls.decode(cls.photos[index])


def _find_decoder(device: str) -> Callable[[list], list] | None:
    """Return a function from JPEG files, as uint8 tensors, to pixels on the device."""
    try:
        from torchcodec.decoders import decode_jpeg
    except Exception:  # not installed, or for another version of torch
        try:
            from torchvision.io import decode_jpeg
        except ImportError:
            return None
    return lambda files: decode_jpeg(files, device=device)


def _measure_rate(action: Callable[[], Any], size: int) -> float:
    """Return items per second of an action that runs on the device."""
    import torch

    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    for _ in range(3):
        action()
    synchronize()
    started, items = perf_counter(), 0
    while perf_counter() - started < _SECONDS:
        action()
        synchronize()
        items += size
    return items / (perf_counter() - started)
