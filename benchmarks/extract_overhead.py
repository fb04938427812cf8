"""Time what `mmfeat extract` does around an encoder that costs nothing, per record.

A GPU encodes some 20,000 images per second. Everything else that happens to a record, such as
reading and checking its tar, must take less. Each part is timed in the same process and on the
same shards, which are in the page cache.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.datasets.generation import write_csv
from benchmarks.datasets.photos import PhotoDataset
from benchmarks.harness.run import run_mmfeat, work_folder
from mmfeat.config import parse_args
from mmfeat.encoders import SCHEMES, EncoderSpec
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.shards.tar_reader import read_tar
from mmfeat.system import print_err, show_table

SCHEMES["null"] = "benchmarks.gpu.null_encoder"
_ENCODER = "image=null:null"


@dataclass
class Options:
    """Time `mmfeat extract` with an encoder that costs nothing, in microseconds per record.

    The last line of the output is one JSON object.
    """

    records: int = 20_000
    """Number of records: JPEG files of about 56 kB, 640 x 480 pixels."""
    pictures: int = 100
    """Number of different images; they repeat."""
    per_shard: int = 2500
    """Records per shard."""
    repeat: int = 3
    """Measurements of each part, interleaved; the fastest counts."""
    folder: str = ""
    """Folder to keep and reuse images and shards; default: a temporary folder."""
    seed: int = 0
    """Seed of the images."""

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.records < 1 or self.per_shard < 1 or self.repeat < 1:
            sys.exit("extract_overhead: all numbers must be at least 1")


@dataclass
class Cost:
    """Time of one part, in microseconds per record."""

    wall: float
    processor: float


def main(arguments: Sequence[str]) -> None:
    """Make the shards, time the parts, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.extract_overhead")
    with work_folder(options.folder) as folder:
        shards = _make_shards(folder, options)
        tars = sorted(shards.glob("*.tar"))
        EncoderSpec.parse(_ENCODER).load()  # imports torch
        parts: dict[str, Callable[[], None]] = {
            "extract": lambda: _extract(shards, folder / "features"),
            "read": lambda: _read_blocks(tars),
            "tar_walk": lambda: _walk(tars),
        }
        costs: dict[str, list[Cost]] = {name: [] for name in parts}
        for number in range(options.repeat):
            print_err(f"extract_overhead: measurement {number + 1} of {options.repeat}")
            for name, action in parts.items():
                costs[name].append(_measure(action, options.records))
    best = {
        name: Cost(min(cost.wall for cost in values), min(cost.processor for cost in values))
        for name, values in costs.items()
    }
    _show(options, best)


def _make_shards(folder: Path, options: Options) -> Path:
    photos = PhotoDataset(folder, options.pictures, options.seed)
    photos.generate()
    name = f"shards-{options.records}-{options.pictures}-{options.per_shard}-{options.seed}"
    output, table = folder / name, folder / f"{name}.csv"
    if not (output / "manifest.json").exists():
        rows = ((f"{i:08d}", photos.names[i % options.pictures]) for i in range(options.records))
        write_csv(table, ("id", "file_name"), rows)
        flags = ("--key-column=id", f"--samples-per-shard={options.per_shard}")
        run_mmfeat("shard", table, output, *flags)
    return output


def _extract(shards: Path, output: Path) -> None:
    """Make all shards of a column, two at a time, as a worker with a GPU does."""
    shutil.rmtree(output, ignore_errors=True)
    stage = Extraction(ExtractConfig(str(shards), str(output), (_ENCODER,)))
    tasks = stage.plan()
    loaded = stage.load()
    with ThreadPoolExecutor(stage.parallel_shards(loaded)) as pool:
        list(pool.map(lambda task: stage.process(task, loaded), tasks))


def _read_blocks(tars: Sequence[Path]) -> None:
    """Read the bytes of the tars and nothing else."""
    buffer = bytearray(1 << 20)
    for path in tars:
        with path.open("rb", 0) as file:
            while file.readinto(buffer):
                pass


def _walk(tars: Sequence[Path]) -> None:
    """Read the members of the tars, unchecked, in one thread."""
    for path in tars:
        with path.open("rb") as file:
            for _ in read_tar(file):
                pass


def _measure(action: Callable[[], None], records: int) -> Cost:
    started, processor = perf_counter(), process_time()
    action()
    wall, processor = perf_counter() - started, process_time() - processor
    return Cost(1e6 * wall / records, 1e6 * processor / records)


def _show(options: Options, costs: dict[str, Cost]) -> None:
    titles = {
        "extract": "mmfeat extract, an encoder that costs nothing",
        "tar_walk": "read the members of the tars",
        "read": "read the bytes of the tars",
    }
    rows = [
        [title, f"{costs[name].wall:.1f}", f"{costs[name].processor:.1f}"]
        for name, title in titles.items()
    ]
    title = f"{options.records:,} records in shards of {options.per_shard:,}"
    show_table(title, ["", "µs per record", "µs of processor"], rows)
    values = {f"{name}_us": round(cost.wall, 1) for name, cost in costs.items()}
    processor = {f"{name}_cpu_us": round(cost.processor, 1) for name, cost in costs.items()}
    print(json.dumps(values | processor))


if __name__ == "__main__":
    main(sys.argv[1:])
