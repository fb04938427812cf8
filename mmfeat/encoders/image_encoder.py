"""The encoder of images that hf, open_clip and timm share."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import loading_errors
from mmfeat.encoders.preprocessing import ImageTransform
from mmfeat.encoders.runtime import Runtime
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


class ImageEncoder(Encoder):
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
        self.on_gpu = runtime.on_gpu
        self._identity = {
            **facts,
            "modality": "image",
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            "preprocessing": transform.facts(),
        }
        with loading_errors(title):
            black = np.zeros((3, transform.size, transform.size), np.uint8)
            shape = self.encode([black])[0].shape
        if len(shape) != 1 + bool(max_tokens):
            raise MmfeatError(f"{title} has no output {output}", got=shape)
        self.dim = shape[-1]

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an image file: uint8, shape (3, size, size)."""
        return self.transform.decode(data)

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        if not batch:
            return [] if self.max_tokens else np.zeros((0, self.dim), np.float32)
        features = self._runtime.run({"pixels": self.transform.to_tensor(batch)}).numpy()
        return list(features) if self.max_tokens else features


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
