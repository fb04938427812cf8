"""Time `mmfeat extract` with each built-in encoder, in one process and in one per core."""

import json
import sys
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.datasets.generation import WORDS, write_csv
from benchmarks.datasets.photos import PhotoDataset
from benchmarks.harness.measure import Usage
from benchmarks.harness.run import count_cores, run_mmfeat, work_folder
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

_SHARDS_PER_CORE = 4
_RATE = 16_000


@dataclass
class Options:
    """Time `mmfeat extract` with the built-in encoders of texts, images and sounds.

    The last line of the output is one JSON object.
    """

    texts: int = 300_000
    """Number of texts of 6 to 21 words; 0 skips them."""
    images: int = 10_000
    """Number of images of 640 x 480 pixels; 0 skips them."""
    sounds: int = 5000
    """Number of sounds of 1 to 5 seconds at 16 kHz; 0 skips them."""
    repeat: int = 1
    """Runs of each setting, in turn; the fastest counts."""
    seed: int = 0
    """Seed of the data."""

    def __post_init__(self) -> None:
        if min(self.texts, self.images, self.sounds) < 0 or self.repeat < 1:
            sys.exit("builtin: counts must be at least 0 and --repeat at least 1")


def main(arguments: Sequence[str]) -> None:
    """Make the data, run all settings, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.builtin")
    makers: dict[str, tuple[str, int, Callable[[Path, int, int], Path]]] = {
        "text": ("text", options.texts, _write_texts),
        "ngrams": ("text", options.texts, _write_texts),
        "image": ("image", options.images, _write_images),
        "audio": ("audio", options.sounds, _write_sounds),
    }
    processes = sorted({1, count_cores()})
    rows, values = [], {}
    with work_folder("") as folder:
        for name, (modality, size, write) in makers.items():
            if not size:
                continue
            print_err(f"builtin: make {size:,} records of {name}")
            shards = _shard(folder, name, write(folder, size, options.seed), size)
            encoder = f"--encoder={modality}=builtin:{name}"
            fastest = _run_all(folder, shards, encoder, processes, options.repeat)
            for count, usage in fastest.items():
                rate = size / usage.seconds
                values[f"{name}_per_s_{count}"] = round(rate, 1)
                cpu = usage.processor_seconds / size * 1e6
                ratio = fastest[1].seconds / usage.seconds
                rows.append([name, str(count), f"{rate:,.0f}", f"{ratio:.2f}", f"{cpu:,.0f}"])
    header = ["builtin", "processes", "records/s", "× one process", "processor µs/record"]
    show_table(f"The whole command, {count_cores()} cores", header, rows)
    print(json.dumps(values))


def _run_all(
    folder: Path, shards: Path, encoder: str, processes: Sequence[int], repeat: int
) -> dict[int, Usage]:
    """Return the fastest run with each number of processes."""
    runs: dict[int, list[Usage]] = {count: [] for count in processes}
    for _ in range(repeat):
        for count in processes:
            output = folder / f"features-{count}"
            runs[count].append(
                run_mmfeat("extract", shards, output, encoder, f"--processes={count}")
            )
    return {count: min(usages, key=lambda usage: usage.seconds) for count, usages in runs.items()}


def _shard(folder: Path, name: str, table: Path, size: int) -> Path:
    shards = -(-size // (_SHARDS_PER_CORE * count_cores()))
    run_mmfeat("shard", table, folder / name, f"--samples-per-shard={shards}")
    return folder / name


def _write_texts(folder: Path, size: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    texts = (
        (" ".join([*rng.choice(WORDS, rng.integers(5, 21)), str(index)]),) for index in range(size)
    )
    write_csv(folder / "texts.csv", ("text",), texts)
    return folder / "texts.csv"


def _write_images(folder: Path, size: int, seed: int) -> Path:
    """Write images without captions. A few hundred differ, which makes no difference in speed."""
    distinct = min(size, 400)
    photos = PhotoDataset(folder, distinct, seed)
    photos.generate()
    rows = ((photos.names[index % distinct],) for index in range(size))
    write_csv(folder / "images.csv", ("file_name",), rows)
    return folder / "images.csv"


def _write_sounds(folder: Path, size: int, seed: int) -> Path:
    """Write noise. A few hundred sounds differ."""
    rng, distinct = np.random.default_rng(seed), min(size, 400)
    for index in range(distinct):
        samples = rng.normal(0, 2000, int(rng.integers(_RATE, 5 * _RATE))).astype("<i2")
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_RATE)
            file.writeframes(samples.tobytes())
    write_csv(
        folder / "sounds.csv", ("file_name",), ((f"{i % distinct}.wav",) for i in range(size))
    )
    return folder / "sounds.csv"


if __name__ == "__main__":
    main(sys.argv[1:])
