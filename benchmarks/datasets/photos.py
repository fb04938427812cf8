"""A generated dataset of images like photographs, 640 x 480 pixels, with captions.

Each image has pixels of its own, so all features differ. `benchmarks.datasets.jpegs` shares pixels
between files.
"""

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.datasets.generation import WORDS, generate_once, write_csv

_SIZE = (640, 480)
_QUALITY = 85
_LAYERS = ((8, 6, 1.0), (40, 30, 0.4), (213, 160, 0.15))
"""Width, height and weight of the noise layers that are scaled up and summed."""


@dataclass(frozen=True)
class PhotoDataset:
    """A folder of images with captions. The same seed gives the same bytes."""

    folder: Path
    size: int
    """Number of images."""
    seed: int

    def generate(self) -> None:
        """Generate the files, unless an earlier run finished them in this folder."""
        settings = {"pictures": self.size, "seed": self.seed}
        generate_once(self.folder / "photos.json", settings, self._write_files)

    @cached_property
    def captions(self) -> list[str]:
        """Captions of 5 to 20 words."""
        return [_caption(self.seed, index) for index in range(self.size)]

    @cached_property
    def names(self) -> list[str]:
        """Names of the files, relative to the folder."""
        return [_name(index) for index in range(self.size)]

    def read_files(self, count: int) -> list[bytes]:
        """Return the bytes of the first files."""
        return [(self.folder / _name(index)).read_bytes() for index in range(count)]

    def write_table(self, count: int) -> Path:
        """Write a CSV of file_name and text of the first images."""
        path = self.folder / f"photos-{count}.csv"
        rows = ((_name(index), self.captions[index]) for index in range(count))
        write_csv(path, ("file_name", "text"), rows)
        return path

    def _write_files(self) -> None:
        (self.folder / "photos").mkdir(parents=True, exist_ok=True)
        for index in range(self.size):
            draw_photo(self, index)


def draw_photo(dataset: PhotoDataset, index: int) -> None:
    """Draw one image and write its file. Processes of a pool call it."""
    image = _draw_image(dataset.seed, index)
    image.save(dataset.folder / _name(index), "JPEG", quality=_QUALITY)


def _name(index: int) -> str:
    return f"photos/{index:08d}.jpg"


def _caption(seed: int, index: int) -> str:
    rng = random.Random(f"{seed} photo {index}")  # noqa: S311 - repeatable, not secret
    return " ".join([*rng.choices(WORDS, k=rng.randint(4, 19)), str(index)])


def _draw_image(seed: int, index: int) -> Image.Image:
    """Draw smooth noise with a few ellipses and rectangles on it."""
    rng = np.random.default_rng([seed, index])
    pixels = np.zeros((_SIZE[1], _SIZE[0], 3), np.float32)
    for width, height, weight in _LAYERS:
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        scaled = noise.resize(_SIZE, Image.Resampling.BICUBIC)
        pixels += weight * (np.asarray(scaled, np.float32) - 128)
    image = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(image)
    for draw_shape in (canvas.ellipse, canvas.rectangle):
        for _ in range(int(rng.integers(1, 4))):
            x, y = (int(rng.integers(0, side)) for side in _SIZE)
            width, height = (int(length) for length in rng.integers(20, 240, 2))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            draw_shape((x, y, x + width, y + height), fill=colour)
    return image
