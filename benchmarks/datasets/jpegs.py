"""A generated dataset of distinct JPEG files with captions, fast to make in large numbers.

The files share the pixels of a few base images and differ in a comment segment.
"""

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.datasets.generation import WORDS, generate_once, write_csv

_BASE_IMAGES = 64
_QUALITY = 85
_SMALLEST, _LARGEST = 22_000, 98_000
"""Intended file sizes in bytes. Noise varies them within 20 to 100 KB."""


@dataclass(frozen=True)
class Subset:
    """The first records of the dataset, in each input form of the programs."""

    records: int
    table: Path
    """CSV of file_name and text; file names are relative to its folder."""
    files: Path
    """Names of all files, one per line."""
    urls: Path
    """CSV of url and text; written by `write_urls` once the server runs."""

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield the rows of the table."""
        with self.table.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)

    def write_urls(self, server: str) -> None:
        """Write the table of URLs at a server that serves the folder."""
        pairs = ((f"{server}/{row['file_name']}", row["text"]) for row in self.rows())
        write_csv(self.urls, ("url", "text"), pairs)


@dataclass(frozen=True)
class JpegDataset:
    """A folder of JPEG files with captions. The same seed gives the same bytes."""

    folder: Path
    size: int
    """Number of images."""
    seed: int

    def generate(self) -> None:
        """Generate the files, unless an earlier run finished them in this folder."""
        settings = {"pictures": self.size, "seed": self.seed}
        generate_once(self.folder / "pictures.json", settings, self._write_files)

    def subset(self, records: int) -> Subset:
        """Write the lists of the first records."""
        names = [_name(index) for index in range(records)]
        captions = (_caption(self.seed, index) for index in range(records))
        table, files, urls = (self.folder / f"{records}.{end}" for end in ("csv", "files", "urls"))
        write_csv(table, ("file_name", "text"), zip(names, captions, strict=True))
        files.write_text("".join(f"{name}\n{Path(name).with_suffix('.txt')}\n" for name in names))
        return Subset(records, table, files, urls)

    @cached_property
    def bytes_per_image(self) -> float:
        """Mean size of an image file."""
        sizes = ((self.folder / _name(i)).stat().st_size for i in range(self.size))
        return sum(sizes) / self.size

    def warm_cache(self) -> None:
        """Read all files once, so that every program reads them from the page cache."""
        for index in range(self.size):
            path = self.folder / _name(index)
            path.read_bytes()
            path.with_suffix(".txt").read_bytes()

    def _write_files(self) -> None:
        (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
        base_images = _base_images(self.seed)
        for index in range(self.size):
            rng = random.Random(f"{self.seed} base {index}")  # noqa: S311 - repeatable, not secret
            comment = f"picture {index} of seed {self.seed}".encode()
            path = self.folder / _name(index)
            path.write_bytes(_add_comment(base_images[rng.randrange(_BASE_IMAGES)], comment))
            path.with_suffix(".txt").write_text(_caption(self.seed, index), encoding="utf-8")


def _name(index: int) -> str:
    return f"pictures/{index:08d}.jpg"


def _caption(seed: int, index: int) -> str:
    rng = random.Random(f"{seed} caption {index}")  # noqa: S311 - repeatable, not secret
    return f"{' '.join(rng.choices(WORDS, k=rng.randint(5, 15)))}, number {index}"


def _add_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Insert a COM segment after the first marker: other bytes, same pixels."""
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:2] + segment + jpeg[2:]


def _base_images(seed: int) -> list[bytes]:
    """Return JPEG files whose sizes spread evenly over the range."""
    rng = np.random.default_rng(seed)
    side = 512
    bytes_per_pixel = len(_noise_jpeg(rng, side)) / side**2
    sizes = np.linspace(_SMALLEST, _LARGEST, _BASE_IMAGES)
    return [_noise_jpeg(rng, round((size / bytes_per_pixel) ** 0.5)) for size in sizes]


def _noise_jpeg(rng: np.random.Generator, side: int) -> bytes:
    """Draw a square of coarse noise, which compresses like a small photograph."""
    coarse = rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    output = io.BytesIO()
    image.save(output, "JPEG", quality=_QUALITY)
    return output.getvalue()
