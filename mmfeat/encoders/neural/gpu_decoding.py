"""Decode and resize JPEG files on a GPU, in batches, with the results of `ImageTransform`.

TorchCodec decodes with nvJPEG. Resizing is two matrix products with the coefficients of Pillow's
filters, which is faster than a resampling kernel and differs less from Pillow.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.media import read_plain_jpeg

MAX_PIXELS = 1 << 25
"""Larger images are decoded on the CPU."""

_CHUNK_PIXELS = 1 << 27
"""Pixels that are decoded at a time, at most."""

_BYTES_PER_PIXEL = 640
"""Memory of a GPU per pixel of a chunk. Decoding takes 15 bytes, in up to four threads."""


def _cubic(x: np.ndarray) -> np.ndarray:
    """Return Pillow's bicubic kernel, a = -0.5, at distances x."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_FILTERS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "bilinear": (1.0, lambda x: np.maximum(0.0, 1.0 - x)),
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)),
}
"""Filter → its support and its value at a distance, as in Pillow's src/libImaging/Resample.c."""


def can_decode_on_gpu(transform: ImageTransform) -> bool:
    """Return whether TorchCodec is installed and can do what the transform does."""
    try:
        from torchcodec.decoders import decode_jpeg  # noqa: F401
    except Exception:  # not installed, or built for another torch
        return False
    fills_square = transform.mode == "longer" or transform.resize >= transform.size
    return transform.interpolation in _FILTERS and fills_square


class PlainJpeg(NamedTuple):
    """A JPEG file that a GPU can decode.

    Attributes:
        data: its bytes. A view keeps the bytes around it in memory.
        pixels: width times height.
    """

    data: bytes | memoryview
    pixels: int


class GpuDecoder:
    """Decodes JPEG files to the input of a model.

    Args:
        transform: what `ImageTransform.decode` would do to each file.
        device: where to decode. The CPU works, too, for tests.
    """

    def __init__(self, transform: ImageTransform, device: torch.device) -> None:
        self._transform, self._device = transform, device
        self._chunk_pixels = _CHUNK_PIXELS
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            self._chunk_pixels = min(_CHUNK_PIXELS, max(MAX_PIXELS, memory // _BYTES_PER_PIXEL))

    def accept(self, data: bytes | memoryview) -> PlainJpeg | None:
        """Return a file as `decode` takes it, or None if the CPU must decode it."""
        header = read_plain_jpeg(data)
        if header is None:
            return None
        width, height = header.width, header.height
        if width * height > MAX_PIXELS or max(width, height) > 200 * min(width, height):
            return None
        return PlainJpeg(data, width * height)

    def decode(self, files: Sequence[PlainJpeg]) -> Tensor:
        """Decode files: uint8, shape [files, 3, size, size], on the device.

        Raises:
            RuntimeError: the decoder fails for one of the files.
        """
        from torchcodec.decoders import decode_jpeg

        side = self._transform.size
        result = torch.empty((len(files), 3, side, side), dtype=torch.uint8, device=self._device)
        for chunk in _split_by_pixels(files, self._chunk_pixels):
            data = [_to_tensor(files[i].data) for i in chunk]
            images = decode_jpeg(data, device=self._device)
            shapes: dict[tuple[int, ...], list[int]] = {}
            for index, image in zip(chunk, images, strict=True):
                shapes.setdefault(tuple(image.shape), []).append(index)
            for indices in shapes.values():
                stacked = torch.stack([images[i - chunk.start] for i in indices])
                result[indices] = self._resize(stacked)
        return result

    def _resize(self, images: Tensor) -> Tensor:
        """Resize and crop images of one size: uint8, shape [images, 3, size, size]."""
        count, _, height, width = images.shape
        box = self._transform.place(width, height)
        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        down, across = (
            self._resampling(source, target, start, visible, dtype)
            for source, target, start, visible in (
                (height, box.height, box.top, box.rows),
                (width, box.width, box.left, box.columns),
            )
        )
        # As Pillow does, the width first, in 8 bits between.
        pixels = _round(images.reshape(-1, width).to(dtype) @ across.T).view(count * 3, height, -1)
        pixels = _round(down @ pixels).to(torch.uint8)
        pixels = pixels.view(count, 3, box.rows, box.columns)
        side = self._transform.size
        if (box.rows, box.columns) == (side, side):
            return pixels
        fill = torch.tensor(self._transform.fill_color, dtype=torch.uint8, device=self._device)
        square = fill.view(1, 3, 1, 1).repeat(count, 1, side, side)
        x, y = max(0, -box.left), max(0, -box.top)
        square[:, :, y : y + box.rows, x : x + box.columns] = pixels
        return square

    def _resampling(
        self, source: int, target: int, start: int, visible: int, dtype: torch.dtype
    ) -> Tensor:
        """Return `_resampling` on the device, shape (visible, source)."""
        name = self._transform.interpolation
        matrix = _resampling_on(self._device, dtype, source, target, start, visible, name)
        if self._device.type == "cuda":
            # It is kept for other threads, and may be dropped while this one's stream reads it.
            matrix.record_stream(torch.cuda.current_stream(self._device))
        return matrix


def _round(pixels: Tensor) -> Tensor:
    """Round to 0 to 255 in place, halves up, as Pillow does."""
    return pixels.add_(0.5).floor_().clamp_(0, 255)


def _to_tensor(data: bytes | memoryview) -> Tensor:
    """Return bytes as uint8, without a copy if they are part of a writable buffer."""
    return torch.frombuffer(
        data if isinstance(data, memoryview) else bytearray(data), dtype=torch.uint8
    )


def _split_by_pixels(files: Sequence[PlainJpeg], max_pixels: int) -> Iterator[range]:
    """Yield ranges of files, each with a bounded number of pixels, or one file."""
    start = pixels = 0
    for index, file in enumerate(files):
        if pixels and pixels + file.pixels > max_pixels:
            yield range(start, index)
            start, pixels = index, 0
        pixels += file.pixels
    if start < len(files):
        yield range(start, len(files))


@lru_cache(maxsize=128)
def _resampling_on(device: torch.device, dtype: torch.dtype, *numbers: Any) -> Tensor:
    return torch.from_numpy(_resampling(*numbers)).to(device, dtype)


def _resampling(source: int, target: int, start: int, visible: int, name: str) -> np.ndarray:
    """Return the matrix that resizes a row of pixels as Pillow does.

    Args:
        source: pixels of the row.
        target: pixels after resizing.
        start: first of them that is kept; negative = all from the first.
        visible: number of those that are kept.
        name: the filter.

    Returns:
        float32, shape (visible, source).
    """
    matrix = np.zeros((visible, source), np.float32)
    if source == target:  # Pillow copies the pixels
        matrix[np.arange(visible), np.arange(visible) + max(0, start)] = 1
        return matrix
    support, value = _FILTERS[name]
    scale = source / target
    stretch = max(scale, 1.0)
    centers = (np.arange(visible) + max(0, start) + 0.5) * scale
    first = np.maximum(0, (centers - support * stretch + 0.5).astype(int))
    end = np.minimum(source, (centers + support * stretch + 0.5).astype(int))
    taps = first[:, None] + np.arange(math.ceil(2 * support * stretch) + 1)
    weights = value(np.abs((taps - centers[:, None] + 0.5) / stretch))
    weights = np.where(taps < end[:, None], weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    np.add.at(matrix, (np.arange(visible)[:, None], np.minimum(taps, source - 1)), weights)
    return matrix
