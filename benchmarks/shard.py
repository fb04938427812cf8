"""Time `mmfeat shard`, and compare it with the limit and the peers in the same run.

Each program runs in a process of its own on a small and on a large number of images, best of
several runs. The marginal time per image is the difference of the times divided by the difference
of the numbers, so it excludes start-up.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.datasets.jpegs import JpegDataset, Subset
from benchmarks.harness.measure import Usage
from benchmarks.harness.run import count_cores, run_command, work_folder
from benchmarks.sharders.image_server import serve_images
from benchmarks.sharders.programs import Program, count_images, list_programs
from mmfeat.config import RepeatedFlag, parse_args
from mmfeat.system import print_err, show_table

TIMES = {
    "": "seconds",
    "_to_disk": "seconds_to_disk",
    "_processor": "processor_seconds",
}
"""Suffix of the JSON key → field of `Usage`."""

HEADER = [
    "",
    "µs/image",
    "to disk",
    "processor",
    "MB/s",
    "start-up s",
    "peak MB",
    "mmfeat time",
]


@dataclass
class Options:
    """Time `mmfeat shard`, GNU tar, webdataset.ShardWriter and img2dataset on generated images.

    The last line of the output is one JSON object.
    """

    pictures: int = 20_000
    """Number of images in the large run, of 20 to 100 KB each."""
    few: int = 2_000
    """Number of images in the small run."""
    folder: str = ""
    """Folder to keep and reuse the images; default: a temporary folder."""
    repeat: int = 3
    """Runs of each program and size; the fastest counts."""
    skip: RepeatedFlag = ()
    """Program to skip: tar, shardwriter or img2dataset."""
    img2dataset: str = ""
    """Path of the program img2dataset in its own virtual environment; default: from PATH."""
    img2dataset_processes: int = 0
    """Processes of img2dataset; 0 means one per core."""
    seed: int = 0
    """Seed of the images."""

    def __post_init__(self) -> None:
        if not 0 < self.few < self.pictures or self.repeat < 1:
            sys.exit("shard: the rule is 0 < --few < --pictures and --repeat of at least 1")
        if unknown := set(self.skip) - {"tar", "shardwriter", "img2dataset"}:
            sys.exit(f"shard: --skip takes tar, shardwriter or img2dataset; got {min(unknown)}")
        if self.img2dataset and not shutil.which(self.img2dataset):
            sys.exit(f"shard: --img2dataset must be a program; got {self.img2dataset}")


@dataclass
class Runs:
    """The runs of one program at both sizes."""

    small: list[Usage] = field(default_factory=list)
    large: list[Usage] = field(default_factory=list)
    skip_reason: str = ""
    """Why there are no runs; empty if there are."""


@dataclass(frozen=True)
class Figures:
    """The results of one program."""

    microseconds: Mapping[str, float]
    """Key of TIMES → marginal microseconds per image."""
    startup_s: float
    peak_mb: float
    memory_growth: float
    """Relative growth of the peak memory from the small to the large run."""


def main(arguments: Sequence[str]) -> None:
    """Make the images, run all programs, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.shard")
    processes = options.img2dataset_processes or count_cores()
    programs = list_programs(options.img2dataset, processes, options.skip)
    with work_folder(options.folder) as folder:
        print_err(f"shard: make {options.pictures:,} images in {folder}")
        dataset = JpegDataset(folder, options.pictures, options.seed)
        dataset.generate()
        runs = _run_programs(programs, dataset, options)
        bytes_per_image = dataset.bytes_per_image
    figures = {name: _figures(r, options) for name, r in runs.items() if not r.skip_reason}
    title = (
        f"{options.pictures:,} images of {bytes_per_image / 1e3:.1f} KB, warm cache, "
        f"{count_cores()} cores, best of {options.repeat}"
    )
    rows = [
        _table_row(program.title, figures[program.name], figures["ours"], bytes_per_image)
        if program.name in figures
        else [program.title, runs[program.name].skip_reason, *["–"] * (len(HEADER) - 2)]
        for program in programs
    ]
    show_table(title, HEADER, rows)
    settings: dict[str, Any] = {
        "pictures": options.pictures,
        "few": options.few,
        "repeat": options.repeat,
        "cores": count_cores(),
        "bytes_per_picture": round(bytes_per_image),
        "img2dataset_processes": processes if "img2dataset" in figures else None,
    }
    print(json.dumps(settings | _to_json(programs, figures)))


def _run_programs(
    programs: Sequence[Program], dataset: JpegDataset, options: Options
) -> dict[str, Runs]:
    """Run the programs in turn, several times, so that a slow minute affects all of them."""
    subsets = [dataset.subset(options.few), dataset.subset(options.pictures)]
    runs = {program.name: Runs(skip_reason=program.skip_reason) for program in programs}
    needs_server = not runs["img2dataset"].skip_reason
    with serve_images(dataset.folder) if needs_server else nullcontext() as url:
        if url:
            for subset in subsets:
                subset.write_urls(url)
        for repetition in range(options.repeat):
            dataset.warm_cache()
            for program in programs:
                if not runs[program.name].skip_reason:
                    print_err(f"shard: run {repetition + 1} of {options.repeat}: {program.title}")
                    _run_both_sizes(program, dataset.folder, subsets, runs[program.name])
    return runs


def _run_both_sizes(program: Program, folder: Path, subsets: Sequence[Subset], runs: Runs) -> None:
    try:
        small, large = (_run_once(program, folder, subset) for subset in subsets)
    except RuntimeError as error:
        if not program.optional:
            sys.exit(f"shard: {program.title}: {error}")
        print_err(f"shard: skip {program.title}: {error}")
        runs.skip_reason = "failed"
        return
    runs.small.append(small)
    runs.large.append(large)


def _run_once(program: Program, folder: Path, subset: Subset) -> Usage:
    output = folder / "output" / program.name
    usage = run_command(program.command(subset, output), output)
    written = count_images(output)
    shutil.rmtree(output)
    if written != subset.records:
        raise RuntimeError(f"wrote {written} of {subset.records} images")
    return usage


def _figures(runs: Runs, options: Options) -> Figures:
    def minimum(usages: Sequence[Usage], time: str) -> float:
        return min(getattr(usage, time) for usage in usages)

    extra_images = options.pictures - options.few
    microseconds = {
        key: (minimum(runs.large, time) - minimum(runs.small, time)) / extra_images * 1e6
        for key, time in TIMES.items()
    }
    peak_mb = max(usage.peak_mb for usage in runs.large)
    return Figures(
        microseconds=microseconds,
        startup_s=minimum(runs.small, "seconds") - options.few * microseconds[""] / 1e6,
        peak_mb=peak_mb,
        memory_growth=peak_mb / max(usage.peak_mb for usage in runs.small) - 1,
    )


def _table_row(title: str, figures: Figures, ours: Figures, bytes_per_image: float) -> list[str]:
    microseconds, ratio = figures.microseconds[""], _ratio(ours, figures, "")
    return [
        title,
        *(f"{figures.microseconds[key]:,.1f}" for key in TIMES),
        f"{bytes_per_image / microseconds:,.0f}" if microseconds > 0 else "too noisy",
        f"{figures.startup_s:.2f}",
        f"{figures.peak_mb:,.0f}",
        "" if figures is ours else f"{ratio} × this" if ratio else "–",
    ]


def _to_json(programs: Sequence[Program], figures: Mapping[str, Figures]) -> dict[str, Any]:
    ours = figures["ours"]
    values: dict[str, Any] = {}
    for name in (program.name for program in programs):
        peer = figures.get(name)
        for key in TIMES:
            values[f"{name}_us{key}"] = peer and round(peer.microseconds[key], 2)
            if name != "ours":
                values[f"vs_{name}{key}"] = peer and _ratio(ours, peer, key)
    return values | {
        "startup_s": round(ours.startup_s, 3),
        "peak_memory_mb": round(ours.peak_mb, 1),
        "memory_growth": round(ours.memory_growth, 4),
    }


def _ratio(ours: Figures, peer: Figures, key: str) -> float | None:
    """Return the time of mmfeat over that of the peer, or None if noise exceeds a difference."""
    a, b = ours.microseconds[key], peer.microseconds[key]
    return round(a / b, 3) if a > 0 and b > 0 else None


if __name__ == "__main__":
    main(sys.argv[1:])
