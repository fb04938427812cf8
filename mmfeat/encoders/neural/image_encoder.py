"""The encoder of images that hf, open_clip and timm share."""

import copy
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.encoders.base import CompileError
from mmfeat.encoders.neural.base import NeuralEncoder
from mmfeat.encoders.neural.gpu_decoding import GpuDecoder, PlainJpeg, can_decode_on_gpu
from mmfeat.encoders.neural.loading import loading_errors
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

_GPU_BATCH = 256
"""Maximum number of images per batch on a GPU. Larger ones gain nothing on an H100."""

_CPU_BATCH = 16
"""Likewise on a core. With larger ones the other cores wait at the end of a shard."""


class ImageEncoder(NeuralEncoder):
    """One vector per image, or one per patch.

    Args:
        title: the encoder as the user wrote it, for error messages.
        transform: the preprocessing.
        runtime: from `pixels`, shape [batch, 3, size, size], to features.
        facts: first part of the identity.
        settings: settings of the command.
        output: name of the model output.
        max_tokens: maximum number of vectors per image. 0 = exactly one vector.
    """

    modality = "image"
    reads_views = True
    can_compile = True

    def __init__(
        self,
        title: str,
        transform: ImageTransform,
        runtime: Runtime,
        facts: dict[str, Any],
        settings: Settings,
        output: str,
        max_tokens: int,
    ) -> None:
        self.transform, self.max_tokens = transform, max_tokens
        self._runtime = runtime
        self.on_gpu, self.parallel_batches = runtime.on_gpu, runtime.parallel_batches
        self.batch_size = _GPU_BATCH if self.on_gpu else _CPU_BATCH
        self.can_decode_on_gpu = self.on_gpu and can_decode_on_gpu(transform)
        self._title = title
        self._decoder: GpuDecoder | None = None
        if settings.decode == "gpu":
            self._decoder = self._make_decoder()
        self._identity = {
            **facts,
            "modality": "image",
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            "preprocessing": transform.facts(),
        }
        with loading_errors(title):
            shape = self.encode([self._black])[0].shape
        if len(shape) != 1 + bool(max_tokens):
            raise MmfeatError(f"{title} has no output {output}", got=shape)
        self.dim = shape[-1]

    def _make_decoder(self) -> GpuDecoder:
        if not self.on_gpu:
            raise MmfeatError(
                f"{self._title} must run on a GPU to decode there",
                cure="Run the command on a machine with a GPU, or use --decode=cpu",
            )
        if not self.can_decode_on_gpu:
            raise MmfeatError(
                f"{self._title} needs TorchCodec to decode on the GPU, and a common resize",
                cure="Install the package torchcodec, or use --decode=cpu",
            )
        return GpuDecoder(self.transform, self._runtime.device)

    def decoding_on_gpu(self) -> "ImageEncoder":
        """Return the encoder as it is with `Settings.decode` = `gpu`; the weights are shared."""
        encoder = copy.copy(self)
        encoder._decoder = self._make_decoder()
        return encoder

    def compiled(self, rows: int) -> "ImageEncoder":
        """Return the encoder with a compiled forward pass; the weights are shared."""
        encoder = copy.copy(self)
        encoder._runtime = self._runtime.compiled(rows)
        encoder.padded_rows = rows
        if not self._runtime.is_compiled:
            # In a thread like those that encode: the code depends on their number of threads.
            with ThreadPoolExecutor(1, initializer=self.prepare_thread) as pool:
                error = pool.submit(encoder.encode, [self._black]).exception()
            if isinstance(error, CompileError):
                raise error
            if error:
                raise CompileError(f"{type(error).__name__}: {error}") from error
        return encoder

    @property
    def _black(self) -> np.ndarray:
        return np.zeros((3, self.transform.size, self.transform.size), np.uint8)

    def keep(self, data: bytes | memoryview) -> PlainJpeg | None:
        """Return a file that the GPU decodes."""
        return self._decoder.accept(data) if self._decoder else None

    def decode(self, data: bytes | memoryview) -> np.ndarray | PlainJpeg:
        """Decode an image: uint8, shape (3, size, size). A file for the GPU stays as it is."""
        return self.keep(data) or self.transform.decode(bytes(data))

    def encode(self, batch: Sequence[np.ndarray | PlainJpeg]) -> np.ndarray | list[np.ndarray]:
        if not batch:
            return [] if self.max_tokens else np.zeros((0, self.dim), np.float32)
        try:
            features = self._run(batch)
        except torch.OutOfMemoryError:
            self._runtime.free_graphs()
            raise
        return list(features) if self.max_tokens else features

    def _run(self, batch: Sequence[np.ndarray | PlainJpeg]) -> np.ndarray:
        with self._runtime.stream(), torch.inference_mode():
            pixels = self._to_pixels(batch)
            if not self.on_gpu:
                pixels = self.transform.normalize(pixels)
                return self._runtime.run({"pixels": pixels}).numpy()
            # Sent as bytes, a quarter of their size.
            return self._runtime.run({"pixels": pixels}, self._normalize, one_shape=True).numpy()

    def _to_pixels(self, batch: Sequence[np.ndarray | PlainJpeg]) -> Tensor:
        """Return uint8, shape [batch, 3, size, size]; on the GPU if it has decoded some."""
        files = [i for i, item in enumerate(batch) if isinstance(item, PlainJpeg)]
        arrays = [item for item in batch if isinstance(item, np.ndarray)]
        if not files:
            return torch.from_numpy(np.stack(arrays))
        decoded = self._decode_files([item for item in batch if isinstance(item, PlainJpeg)])
        if not arrays:
            return decoded
        others = [i for i in range(len(batch)) if i not in set(files)]
        pixels = decoded.new_empty((len(batch), *decoded.shape[1:]))
        pixels[files] = decoded
        pixels[others] = torch.from_numpy(np.stack(arrays)).to(decoded.device)
        return pixels

    def _decode_files(self, files: Sequence[PlainJpeg]) -> Tensor:
        """Decode files on the GPU; on the CPU if the GPU cannot decode one of them."""
        assert self._decoder
        try:
            return self._decoder.decode(files)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            if len(files) == 1:
                array = torch.from_numpy(self.transform.decode(bytes(files[0].data)))
                return array[None].to(self._runtime.device)
        middle = len(files) // 2
        return torch.cat([self._decode_files(files[:middle]), self._decode_files(files[middle:])])

    def _normalize(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pixels": self.transform.normalize(inputs["pixels"])}


def limit_grid_tokens(states: Tensor, max_tokens: int, prefix: int | None = None) -> Tensor:
    """Average neighbouring patches until an image has at most `max_tokens` tokens.

    Args:
        states: shape [batch, tokens, dim]; for a CNN [batch, dim, height, width].
        max_tokens: upper bound.
        prefix: number of tokens before the patches, such as the class token. They are kept.
            None = all that do not fit the largest square.

    Returns:
        Shape [batch, tokens, dim].

    Raises:
        MmfeatError: too many tokens, and the patches are not a square.
    """
    if states.ndim == 4:
        states, grid, prefix = states.flatten(2).mT, (states.shape[2], states.shape[3]), 0
    else:
        if prefix is None:
            prefix = states.shape[1] - math.isqrt(states.shape[1]) ** 2
        side = math.isqrt(states.shape[1] - prefix)
        grid = (side, side)
    if states.shape[1] <= max_tokens:
        return states
    first, patches = states[:, :prefix][:, :max_tokens], states[:, prefix:]
    side = math.isqrt(max_tokens - first.shape[1])
    if not side:
        return first
    if grid[0] * grid[1] != patches.shape[1]:
        raise MmfeatError("max_tokens must be at least the number of tokens", got=max_tokens)
    squares = patches.mT.unflatten(2, grid).float()
    averaged = nn.functional.adaptive_avg_pool2d(squares, side).flatten(2).mT
    return torch.cat([first.float(), averaged], dim=1)
