"""Generated pictures with captions: as many files as asked for, made fast, no two alike."""

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

_BASES = 64
_QUALITY = 85
_SMALLEST, _LARGEST = 22_000, 98_000
"""Aims for the bytes of a file; what noise adds or takes keeps it in 20 to 100 KB."""
WORDS = "red green blue small large old new round square bright lamp boat house tree road".split()


@dataclass(frozen=True)
class Part:
    """The first records of the pictures, in each form that a program under test reads."""

    records: int
    table: Path
    """CSV of file_name and text; names are relative to its folder."""
    files: Path
    """Names of all files, one a line."""
    urls: Path
    """CSV of url and text; to be written with `write_urls` once there is a server."""

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows of the table."""
        with self.table.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)

    def write_urls(self, server: str) -> None:
        """Write the table of addresses at a server that serves the folder."""
        pairs = ((f"{server}/{row['file_name']}", row["text"]) for row in self.rows())
        _write_csv(self.urls, ("url", "text"), pairs)


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures with captions; the same seed gives the same bytes."""

    folder: Path
    number: int
    seed: int

    def make(self) -> None:
        """Generate the files, unless an earlier run finished them in this folder."""
        mark = self.folder / "pictures.json"
        wanted = {"pictures": self.number, "seed": self.seed}
        if mark.exists() and json.loads(mark.read_text()) == wanted:
            return
        mark.unlink(missing_ok=True)
        (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
        bases = _base_pictures(self.seed)
        for index in range(self.number):
            picture, caption = _record(bases, self.seed, index)
            path = self.folder / _name(index)
            path.write_bytes(picture)
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
        mark.write_text(json.dumps(wanted))

    def part(self, records: int) -> Part:
        """Write the lists of the first records."""
        names = [_name(index) for index in range(records)]
        captions = (_caption(self.seed, index) for index in range(records))
        part = Part(
            records, *(self.folder / f"{records}.{end}" for end in ("csv", "files", "urls"))
        )
        _write_csv(part.table, ("file_name", "text"), zip(names, captions, strict=True))
        both = (f"{name}\n{Path(name).with_suffix('.txt')}\n" for name in names)
        part.files.write_text("".join(both))
        return part

    @cached_property
    def bytes_per_picture(self) -> float:
        """Mean size of a picture."""
        sizes = ((self.folder / _name(i)).stat().st_size for i in range(self.number))
        return sum(sizes) / self.number

    def warm(self) -> None:
        """Read all files once, so that none of the programs pays for the disk."""
        for index in range(self.number):
            path = self.folder / _name(index)
            path.read_bytes()
            path.with_suffix(".txt").read_bytes()


def _name(index: int) -> str:
    return f"pictures/{index:08d}.jpg"


def _write_csv(path: Path, header: tuple[str, str], rows: Iterator[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _record(bases: list[bytes], seed: int, index: int) -> tuple[bytes, str]:
    base = bases[random.Random(f"{seed} base {index}").randrange(_BASES)]  # noqa: S311
    return _with_comment(base, f"picture {index} of seed {seed}".encode()), _caption(seed, index)


def _caption(seed: int, index: int) -> str:
    draw = random.Random(f"{seed} caption {index}")  # noqa: S311 - repeatable, not secret
    return f"{' '.join(draw.choices(WORDS, k=draw.randint(5, 15)))}, number {index}"


def _with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """A valid JPEG with other bytes and the same picture: a COM segment after the first marker."""
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:2] + segment + jpeg[2:]


def _base_pictures(seed: int) -> list[bytes]:
    """JPEGs whose sizes spread evenly over the range, in pixels like small photographs."""
    draw = np.random.default_rng(seed)
    side = 512
    bytes_per_pixel = len(_noise(draw, side)) / side**2
    aims = np.linspace(_SMALLEST, _LARGEST, _BASES)
    return [_noise(draw, round((aim / bytes_per_pixel) ** 0.5)) for aim in aims]


def _noise(draw: np.random.Generator, side: int) -> bytes:
    coarse = draw.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=_QUALITY)
    return output.getvalue()
