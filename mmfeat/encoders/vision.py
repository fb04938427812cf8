"""What encoders of pictures share whose preprocessing is a `Picture`."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import one_line
from mmfeat.encoders.preprocessing import Picture
from mmfeat.encoders.runtime import Runtime
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


class PictureEncoder(Encoder):
    """A picture's vector, or those of its patches.

    Args:
        title: the encoder as the user wrote it, for messages.
        picture: how a picture becomes the model's input.
        runtime: from `pixels`, shape [batch, 3, size, size], to the features.
        facts: identity, without the share that is the same for all.
        settings: how it runs.
        output: which of the model's outputs the features are.
        max_tokens: 0, or the most vectors a picture has.
    """

    modality = "image"

    def __init__(
        self,
        title: str,
        picture: Picture,
        runtime: Runtime,
        facts: dict[str, Any],
        settings: Settings,
        output: str,
        max_tokens: int,
    ) -> None:
        self.picture, self.max_tokens = picture, max_tokens
        self._runtime = runtime
        self.on_gpu = runtime.devices[0].type != "cpu"
        self._identity = {
            **facts,
            "modality": "image",
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            "preprocessing": asdict(picture),
        }
        with one_line(title):
            made_up = np.zeros((3, picture.size, picture.size), np.uint8)
            shape = self.encode([made_up])[0].shape
        if len(shape) != 1 + bool(max_tokens):
            raise MmfeatError(f"{title} has no output {output}", got=shape)
        self.dim = shape[-1]

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> np.ndarray:
        """uint8, shape (3, size, size)."""
        return self.picture.decode(data)

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        if not batch:
            return [] if self.max_tokens else np.zeros((0, self.dim), np.float32)
        features = self._runtime.run({"pixels": self.picture.batch(batch)}).numpy()
        return list(features) if self.max_tokens else features


def grid_tokens(states: Tensor, whole: int, most: int) -> Tensor:
    """At most so many tokens a picture: patches are averaged to a smaller square where need be.

    Args:
        states: shape [batch, tokens, dim], or of a CNN [batch, dim, height, width].
        whole: how many of the tokens, the first, stand for the whole picture; they are kept.
        most: bound on the tokens.

    Raises:
        MmfeatError: too many tokens, and they are no square.
    """
    if states.ndim == 4:
        states, grid = states.flatten(2).mT, (states.shape[2], states.shape[3])
    else:
        side = math.isqrt(states.shape[1] - whole)
        grid = (side, side)
    if states.shape[1] <= most:
        return states
    first, patches = states[:, :whole][:, :most], states[:, whole:]
    side = math.isqrt(most - first.shape[1])
    if not side:
        return first
    if grid[0] * grid[1] != patches.shape[1]:
        raise MmfeatError("max_tokens must be at least the number of tokens", got=most)
    squares = patches.mT.unflatten(2, grid).float()
    fewer = nn.functional.adaptive_avg_pool2d(squares, side).flatten(2).mT
    return torch.cat([first.float(), fewer], dim=1)


def square_side(title: str, height: int, width: int) -> int:
    """The side of a model's input.

    Raises:
        MmfeatError: it is not square.
    """
    if height != width:
        raise MmfeatError(f"{title} must read square pictures", got=f"{width}x{height}")
    return height


def filter_name(title: str, name: str) -> str:
    """Name of one of Pillow's filters.

    Raises:
        MmfeatError: there is no such filter.
    """
    if name.upper() not in Image.Resampling.__members__:
        raise MmfeatError(f"{title} resizes by a filter that Pillow has not", got=name)
    return name


def three(values: Sequence[float] | float) -> tuple[float, float, float]:
    """A value for each of three channels."""
    if isinstance(values, int | float):
        return (float(values),) * 3
    first, second, third = values
    return float(first), float(second), float(third)
