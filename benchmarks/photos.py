"""Generated pictures like photographs, of 640 x 480 pixels, with captions: no two alike.

Unlike those of `benchmarks.pictures`, which share a few pictures among many files, each is drawn
anew: its features differ from all others'.
"""

import csv
import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.pictures import WORDS

_SIZE = (640, 480)
_QUALITY = 85
_LAYERS = ((8, 6, 1.0), (40, 30, 0.4), (213, 160, 0.15))
"""Width and height of noise that is blown up to the picture, and its share."""


@dataclass(frozen=True)
class Photos:
    """A folder of pictures with captions; the same seed gives the same bytes."""

    folder: Path
    number: int
    seed: int

    def make(self) -> None:
        """Draw the files, unless an earlier run finished them in this folder."""
        mark = self.folder / "photos.json"
        wanted = {"pictures": self.number, "seed": self.seed}
        if mark.exists() and json.loads(mark.read_text()) == wanted:
            return
        mark.unlink(missing_ok=True)
        (self.folder / "photos").mkdir(parents=True, exist_ok=True)
        for index in range(self.number):
            path = self.folder / _name(index)
            _photo(self.seed, index).save(path, "JPEG", quality=_QUALITY)
        mark.write_text(json.dumps(wanted))

    @cached_property
    def captions(self) -> list[str]:
        """Of 5 to 20 words each."""
        return [_caption(self.seed, index) for index in range(self.number)]

    def read(self, number: int) -> list[bytes]:
        """The first files."""
        return [(self.folder / _name(index)).read_bytes() for index in range(number)]

    def table(self, number: int) -> Path:
        """CSV of file_name and text of the first pictures."""
        path = self.folder / f"photos-{number}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file_name", "text"))
            writer.writerows((_name(i), self.captions[i]) for i in range(number))
        return path


def _name(index: int) -> str:
    return f"photos/{index:08d}.jpg"


def _caption(seed: int, index: int) -> str:
    draw = random.Random(f"{seed} photo {index}")  # noqa: S311 - repeatable, not secret
    return " ".join([*draw.choices(WORDS, k=draw.randint(4, 19)), str(index)])


def _photo(seed: int, index: int) -> Image.Image:
    draw = np.random.default_rng([seed, index])
    light = np.zeros((_SIZE[1], _SIZE[0], 3), np.float32)
    for width, height, share in _LAYERS:
        noise = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        blown_up = noise.resize(_SIZE, Image.Resampling.BICUBIC)
        light += share * (np.asarray(blown_up, np.float32) - 128)
    picture = Image.fromarray((light + 128).clip(0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(picture)
    for shape in (canvas.ellipse, canvas.rectangle):
        for _ in range(int(draw.integers(1, 4))):
            x, y = (int(draw.integers(0, side)) for side in _SIZE)
            width, height = (int(length) for length in draw.integers(20, 240, 2))
            colour = tuple(int(value) for value in draw.integers(0, 256, 3))
            shape((x, y, x + width, y + height), fill=colour)
    return picture
