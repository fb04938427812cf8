"""The built-in image encoder: oriented gradients, colours and silhouette.

Gradients (see `gradients`) at two scales. Colour as a soft RGB histogram, and as means and spreads
on a coarse grid, in the spirit of Swain & Ballard, 1991, "Color Indexing". Square roots after
Arandjelović & Zisserman, 2012 ("RootSIFT"): the difference between zero and a little then counts
for more than that between much and more.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import PIL
from PIL import Image

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.builtin.gradients import (
    normalize_contrast,
    oriented_strength,
    pad_edges,
    scale_to_unit,
    triangular_windows,
)
from mmfeat.errors import MmfeatError
from mmfeat.media import load_plain_image, pillow_errors_as_record_errors

VERSION = 2
"""Increase with any change to the values of `decode` or `encode`."""

SIDE = 64
"""Images are resized to SIDE x SIDE pixels. The aspect ratio is a feature of its own."""

GRADIENT_CELLS = (8, 4)
"""Gradients are pooled to 8 x 8 cells at full size, and to 4 x 4 at half size."""

COLOUR_CELLS = 4
SILHOUETTE_CELLS = 8
LEVELS = 4
"""Levels per channel of the colour histogram, which has LEVELS**3 bins."""

GROUND = 0.5
"""Background of transparent pixels: black and white drawings both contrast with mid-grey."""

_windows = lru_cache(triangular_windows)


class ImageDescriptor(Encoder):
    """Oriented gradients, colours and silhouette of an image of any size and mode.

    Each block of the vector (gradients per scale, colour means, colour spreads, histogram,
    silhouette) has length 1 or less, so that none dominates.

    Args:
        directions: gradient directions around the circle. Each adds 80 values to the vector.
    """

    modality = "image"
    uses_one_core = True

    def __init__(self, *, directions: int = 12) -> None:
        if not isinstance(directions, int) or not 4 <= directions <= 36:
            raise MmfeatError("builtin:image: directions must be 4 to 36", got=directions)
        self.directions = directions
        gradients = directions * sum(cells**2 for cells in GRADIENT_CELLS)
        self.dim = gradients + 6 * COLOUR_CELLS**2 + LEVELS**3 + SILHOUETTE_CELLS**2 + 1

    def identity(self) -> dict[str, Any]:
        return {
            "name": "builtin:image",
            "version": VERSION,
            "directions": self.directions,
            "side": SIDE,
            "gradient_cells": list(GRADIENT_CELLS),
            "colour_cells": COLOUR_CELLS,
            "silhouette_cells": SILHOUETTE_CELLS,
            "levels": LEVELS,
            "ground": GROUND,
            # Decoders and the resampling filter may change with the major version of Pillow.
            "pillow": int(PIL.__version__.split(".")[0]),
        }

    def decode(self, data: bytes) -> tuple[np.ndarray, float]:
        """Decode an image file.

        Returns:
            RGB times alpha, and alpha: uint8, shape (SIDE, SIDE, 4). The log of width / height.

        Raises:
            RecordError: `undecodable` or `too_large`.
        """
        # Twice the side leaves enough pixels for the resampling below.
        image = load_plain_image(data, draft=2 * SIDE)
        log_ratio = math.log(image.width / image.height)
        with pillow_errors_as_record_errors():
            if image.mode != "RGB":
                # RGBa is colour times alpha. In RGBA, hidden colours of clear pixels bleed in.
                image = image.convert("RGBA").convert("RGBa")
            small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            if image.mode == "RGB":
                small.putalpha(255)
        return np.asarray(small), log_ratio

    def encode(self, batch: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
        """Encode images: float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        for row, (pixels, log_ratio) in zip(features, batch, strict=True):
            np.concatenate([*self._blocks(pixels), [np.clip(log_ratio, -3, 3) / 3]], out=row)
        return features

    def _blocks(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return the blocks of an image's vector, each flat."""
        # Contiguous channels make each step twice as fast.
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / 255
        colour, alpha = planes[:3], planes[3]
        shown = np.concatenate([colour + GROUND * (1 - alpha), planes[3:]])
        gradients = [
            scale_to_unit(np.sqrt(_gradient_cells(channels, cells, self.directions)))
            for channels, cells in zip((shown, _halve(shown)), GRADIENT_CELLS, strict=True)
        ]
        mean, spread = _colour_grid(shown[:3] - GROUND)
        window = _windows(SIDE, SILHOUETTE_CELLS)
        return [
            *gradients,
            0.5 * scale_to_unit(mean),
            0.5 * scale_to_unit(spread),
            np.sqrt(_colour_histogram(colour, alpha)),
            0.5 * scale_to_unit(window @ alpha @ window.T),
        ]


def _gradient_cells(channels: np.ndarray, cells: int, directions: int) -> np.ndarray:
    """Pool edge strength by direction and place, relative to the neighbouring cells.

    Args:
        channels: values in [0, 1], shape (channels, S, S).
        cells: cells along each side.
        directions: number of gradient directions.

    Returns:
        Values in [0, 1], shape (directions, cells, cells).
    """
    padded = pad_edges(channels)
    across = down = energy = np.zeros_like(channels[0])
    # Each pixel uses the channel with the strongest edge. Alpha is one, so outlines count.
    for channel in padded:
        dx = channel[1:-1, 2:] - channel[1:-1, :-2]
        dy = channel[2:, 1:-1] - channel[:-2, 1:-1]
        stronger = dx * dx + dy * dy > energy
        across, down = np.where(stronger, dx, across), np.where(stronger, dy, down)
        energy = across * across + down * down
    window = _windows(channels.shape[1], cells)
    pooled = window @ oriented_strength(across, down, directions) @ window.T
    return normalize_contrast(pooled, floor=0.04)


def _colour_grid(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and spread of lightness, red-green and yellow-blue on a grid.

    Args:
        colour: RGB, shape (3, S, S).
    """
    red, green, blue = colour
    opponent = np.stack([(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2])
    window = _windows(SIDE, COLOUR_CELLS)
    mean = window @ opponent @ window.T
    variance = window @ (opponent * opponent) @ window.T - mean * mean
    return mean, np.sqrt(np.maximum(variance, 0))


def _colour_histogram(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the share of visible pixels near each of LEVELS**3 colours, shape (LEVELS**3,).

    A pixel is distributed over the eight colours around it, so a small change of light changes
    little. The sum is 1, or less if almost nothing is visible.
    """
    true = np.minimum(colour / np.maximum(alpha, 1 / 255), 1)  # undo the multiplication by alpha
    level = np.arange(LEVELS, dtype=np.float32)[:, None]
    near = np.maximum(0, 1 - np.abs(true.reshape(3, 1, -1) * (LEVELS - 1) - level))  # (3, L, S*S)
    red_green = (near[0][:, None] * near[1]).reshape(LEVELS**2, -1)
    histogram = red_green @ (near[2] * alpha.ravel()).T
    return histogram.ravel() / max(histogram.sum(), 1)


def _halve(planes: np.ndarray) -> np.ndarray:
    """Average tiles of 2 x 2 pixels. Shape (channels, S, S) → (channels, S / 2, S / 2)."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
