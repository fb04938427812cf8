"""A frozen image encoder that needs no download: oriented gradients, colours and silhouette.

Gradients after Dalal & Triggs, 2005, "Histograms of Oriented Gradients for Human Detection", with
smooth direction tuning in place of hard bins (Tola et al., 2010, "DAISY"), at two scales. Colour as
a soft RGB histogram and as means and spreads on a coarse grid, in the spirit of Swain & Ballard,
1991, "Color Indexing". Square roots after Arandjelović & Zisserman, 2012 ("RootSIFT"): the
difference between none and a little counts for more than that between much and more.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import PIL
from PIL import Image

from mmfeat.encoders.base import Encoder
from mmfeat.errors import MmfeatError
from mmfeat.media.images import load_image, pillow_errors_as_record_errors, apply_exif_orientation

VERSION = 1
"""Goes up with any change of a value that `encode` returns."""

SIDE = 64
"""Every picture is brought to SIDE x SIDE pixels; its shape is kept as one number."""

GRADIENT_CELLS = (8, 4)
"""Gradients of the picture are pooled to 8 x 8 cells, those of its half size to 4 x 4."""

COLOUR_CELLS = 4
SILHOUETTE_CELLS = 8
LEVELS = 4
"""Colour histogram: LEVELS per channel, LEVELS**3 in all."""

GROUND = 0.5
"""Transparent pixels show mid-grey: black and white drawings both stand out from it."""


class ImageDescriptor(Encoder):
    """Oriented gradients, colours and silhouette of a picture of any size and mode.

    Each block of the vector (gradients per scale, colour means, colour spreads, histogram,
    silhouette) has length 1 or less, so none drowns the others.

    Args:
        directions: gradient directions around the circle; the vector grows by 80 for each.
    """

    modality = "image"

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
            # Decoders and the resampling filter belong to Pillow and move with its major version.
            "pillow": int(PIL.__version__.split(".")[0]),
        }

    def decode(self, data: bytes) -> tuple[np.ndarray, float]:
        """A picture file as pixels and shape.

        Returns:
            RGB times alpha, and alpha: uint8, shape (SIDE, SIDE, 4); log of width / height.

        Raises:
            RecordError: `undecodable` or `too_large`.
        """
        # Twice the side leaves the resampling below enough to average over.
        image = apply_exif_orientation(load_image(data, draft=2 * SIDE))
        shape = math.log(image.width / image.height)
        with pillow_errors_as_record_errors():
            # Colour times alpha (RGBa): else the unseen colour of transparent pixels bleeds in.
            small = _rgba(image).convert("RGBa").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(small), shape

    def encode(self, batch: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
        """Pictures as float32, shape (len(batch), dim)."""
        features = np.zeros((len(batch), self.dim), np.float32)
        for row, (pixels, shape) in zip(features, batch, strict=True):
            np.concatenate([*self._blocks(pixels), [np.clip(shape, -3, 3) / 3]], out=row)
        return features

    def _blocks(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The parts of one picture's vector, each flat."""
        # Channels first: each step then runs over contiguous memory, twice as fast.
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / 255
        colour, alpha = planes[:3], planes[3]
        shown = np.concatenate([colour + GROUND * (1 - alpha), planes[3:]])
        gradients = [
            _unit(np.sqrt(_gradient_cells(picture, cells, self.directions)))
            for picture, cells in zip((shown, _halve(shown)), GRADIENT_CELLS, strict=True)
        ]
        mean, spread = _colour_grid(shown[:3] - GROUND)
        window = _windows(SIDE, SILHOUETTE_CELLS)
        return [
            *gradients,
            0.5 * _unit(mean),
            0.5 * _unit(spread),
            np.sqrt(_colour_histogram(colour, alpha)),
            0.5 * _unit(window @ alpha @ window.T),
        ]


def _rgba(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGBA."""
    if image.mode.startswith(("I", "F")):
        # More than 8 bits a pixel and no agreed white: the brightest pixel becomes it.
        grey = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        grey -= min(grey.min(), 0)
        image = Image.fromarray((grey * (255 / max(grey.max(), 1))).astype(np.uint8))
    elif image.mode == "LAB":
        image = image.getchannel("L")  # Pillow cannot turn LAB into RGB; its lightness shows most
    return image.convert("RGBA")


def _gradient_cells(picture: np.ndarray, cells: int, directions: int) -> np.ndarray:
    """Edge strength by direction and place, each cell relative to its surroundings.

    A direction answers as cos**6, half height at 27 degrees: twelve of them cover the circle.

    Args:
        picture: channels in [0, 1], shape (channels, S, S).

    Returns:
        Values in [0, 1], shape (directions, cells, cells).
    """
    padded = np.pad(picture, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = down = energy = np.zeros_like(picture[0])
    # The channel with the strongest edge speaks for the pixel; alpha is one, so outlines count.
    for channel in padded:
        dx = channel[1:-1, 2:] - channel[1:-1, :-2]
        dy = channel[2:, 1:-1] - channel[:-2, 1:-1]
        stronger = dx * dx + dy * dy > energy
        across, down = np.where(stronger, dx, across), np.where(stronger, dy, down)
        energy = across * across + down * down
    strength = np.sqrt(energy)
    across, down = across / (strength + 1e-6), down / (strength + 1e-6)
    angles = (2 * np.pi / directions * np.arange(directions, dtype=np.float32))[:, None, None]
    cosine = np.maximum(np.cos(angles) * across + np.sin(angles) * down, 0)
    squared = cosine * cosine
    window = _windows(picture.shape[1], cells)
    # The sixth power by hand: numpy's own float power is ten times slower.
    pooled = window @ (squared * squared * squared * strength) @ window.T
    # Contrast of the 3 x 3 cells around; the floor keeps noise in flat cells from being blown up.
    around = np.pad((pooled * pooled).sum(axis=0), 1, mode="edge")
    mean = sum(around[y : y + cells, x : x + cells] for y in range(3) for x in range(3)) / 9
    return np.minimum(pooled / np.sqrt(mean + 0.04**2), 1)


def _colour_grid(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of light, red-green and yellow-blue on a grid; colour of shape (3, S, S)."""
    red, green, blue = colour
    opponent = np.stack([(red + green + blue) / 3, (red - green) / 2, (red + green) / 4 - blue / 2])
    window = _windows(SIDE, COLOUR_CELLS)
    mean = window @ opponent @ window.T
    variance = window @ (opponent * opponent) @ window.T - mean * mean
    return mean, np.sqrt(np.maximum(variance, 0))


def _colour_histogram(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Share of the visible pixels near each of LEVELS**3 colours, shape (LEVELS**3,).

    Each pixel is dealt out among the eight colours around it, so a small change of light moves
    little. Sums to 1, or to less where almost nothing is visible.
    """
    true = np.minimum(colour / np.maximum(alpha, 1 / 255), 1)  # undo the multiplication by alpha
    level = np.arange(LEVELS, dtype=np.float32)[:, None]
    near = np.maximum(0, 1 - np.abs(true.reshape(3, 1, -1) * (LEVELS - 1) - level))  # (3, L, S*S)
    red_green = (near[0][:, None] * near[1]).reshape(LEVELS**2, -1)
    histogram = red_green @ (near[2] * alpha.ravel()).T
    return histogram.ravel() / max(histogram.sum(), 1)


def _halve(planes: np.ndarray) -> np.ndarray:
    """Mean over tiles of 2 x 2 pixels; planes of shape (channels, S, S)."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


@lru_cache
def _windows(side: int, cells: int) -> np.ndarray:
    """Overlapping triangular windows, shape (cells, side), each summing to 1: a shape that moves
    by a few pixels moves from one cell into the next little by little."""
    step = side / cells
    centres = (np.arange(cells) + 0.5) * step
    weights = np.maximum(0, 1 - np.abs(np.arange(side) + 0.5 - centres[:, None]) / step)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit(block: np.ndarray) -> np.ndarray:
    """The block, flat and of length 1; smaller where there is next to nothing in it."""
    flat = block.ravel()
    return flat / np.sqrt(np.square(flat).sum() + 1e-4)
