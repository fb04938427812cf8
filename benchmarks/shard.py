"""How fast `mmfeat shard` makes shards, beside the limit and the peers, in the same run.

Each program runs in a process of its own on few and on all records, best of several; the marginal
time of a picture is the difference over the difference, which leaves out what starting costs.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import contenders, measure
from benchmarks.contenders import REPOSITORY, Contender
from benchmarks.folder import work_folder
from benchmarks.measure import Usage
from benchmarks.pictures import Part, Pictures
from mmfeat.config.flags import RepeatedFlag, parse_args
from mmfeat.system.console import print_err, show_table

TIMES = {
    "": "seconds",
    "_to_disk": "seconds_to_disk",
    "_processor": "processor_seconds",
}
"""What is told of each program: end of the key in the result → which time."""

COLUMNS = [
    "",
    "µs a picture",
    "to disk",
    "processor",
    "MB/s",
    "start-up s",
    "peak MB",
    "ours takes",
]


@dataclass
class Options:
    """Time `mmfeat shard`, GNU tar, webdataset.ShardWriter and img2dataset on generated pictures.

    The last line of the output is one JSON object.
    """

    pictures: int = 20_000
    """Pictures to shard, of 20 to 100 KB."""
    few: int = 2_000
    """Pictures of the small run, which tells what starting costs."""
    folder: str = ""
    """Keep the pictures here and use them again; a temporary folder when not given."""
    repeat: int = 3
    """Runs of each program and size; the fastest counts."""
    skip: RepeatedFlag = ()
    """A program to leave out: tar, shardwriter or img2dataset."""
    img2dataset: str = ""
    """The program img2dataset, of a virtual environment of its own; looked for on PATH."""
    img2dataset_processes: int = 0
    """Processes of img2dataset; 0 takes one a core."""
    seed: int = 0
    """Another seed makes other pictures."""

    def __post_init__(self) -> None:
        if not 0 < self.few < self.pictures or self.repeat < 1:
            sys.exit("shard: there must be 0 < --few < --pictures, and --repeat of at least 1")
        if unknown := set(self.skip) - {"tar", "shardwriter", "img2dataset"}:
            sys.exit(f"shard: --skip takes tar, shardwriter or img2dataset; got {min(unknown)}")
        if self.img2dataset and not shutil.which(self.img2dataset):
            sys.exit(f"shard: there is no program {self.img2dataset}")

    @property
    def more(self) -> int:
        """Pictures by which the large run exceeds the small one."""
        return self.pictures - self.few


@dataclass
class Runs:
    """The runs of one program at both sizes."""

    few: list[Usage] = field(default_factory=list)
    all: list[Usage] = field(default_factory=list)
    absent: str = ""
    """Why there are none."""


@dataclass(frozen=True)
class Figures:
    """What the runs of one program tell."""

    microseconds: Mapping[str, float]
    """Key of TIMES → marginal microseconds of a picture."""
    startup_s: float
    peak_mb: float
    memory_growth: float
    """By what share the peak grows from few to all pictures."""


def main(arguments: Sequence[str]) -> None:
    """Make the pictures, run everything, print the table and the JSON."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.shard")
    processes = options.img2dataset_processes or contenders.cores()
    programs = contenders.everyone(options.img2dataset, processes, options.skip)
    with work_folder(options.folder) as folder:
        print_err(f"shard: {options.pictures:,} pictures in {folder}")
        pictures = Pictures(folder, options.pictures, options.seed)
        pictures.make()
        runs = _run_all(programs, pictures, options)
        figures = {name: _figures(run, options) for name, run in runs.items() if not run.absent}
        size = pictures.bytes_per_picture
    title = (
        f"{options.pictures:,} pictures of {size / 1e3:.1f} KB, warm cache, "
        f"{contenders.cores()} cores, best of {options.repeat}"
    )
    rows = [
        _row(one.title, figures[one.name], figures["ours"], size)
        if one.name in figures
        else [one.title, runs[one.name].absent, *["–"] * (len(COLUMNS) - 2)]
        for one in programs
    ]
    show_table(title, COLUMNS, rows)
    facts: dict[str, Any] = {
        "pictures": options.pictures,
        "few": options.few,
        "repeat": options.repeat,
        "cores": contenders.cores(),
        "bytes_per_picture": round(size),
        "img2dataset_processes": processes if "img2dataset" in figures else None,
    }
    print(json.dumps(facts | _facts(programs, figures)))


def _run_all(
    programs: Sequence[Contender], pictures: Pictures, options: Options
) -> dict[str, Runs]:
    """Run all in turn, again and again, so that a slow minute of the machine hits each alike."""
    parts = [pictures.part(options.few), pictures.part(options.pictures)]
    runs = {one.name: Runs(absent=one.absent) for one in programs}
    with (
        nullcontext() if runs["img2dataset"].absent else contenders.serving(pictures.folder) as url
    ):
        if url:
            for part in parts:
                part.write_urls(url)
        for turn in range(options.repeat):
            pictures.warm()
            for one in programs:
                if not runs[one.name].absent:
                    print_err(f"shard: run {turn + 1} of {options.repeat}: {one.title}")
                    _run_both(one, pictures.folder, parts, runs[one.name])
    return runs


def _run_both(program: Contender, folder: Path, parts: Sequence[Part], runs: Runs) -> None:
    try:
        few, everything = (_run_once(program, folder, part) for part in parts)
    except RuntimeError as error:
        if not program.optional:
            sys.exit(f"shard: {program.title}: {error}")
        print_err(f"shard: {program.title} is left out: {error}")
        runs.absent = "failed"
        return
    runs.few.append(few)
    runs.all.append(everything)


def _run_once(program: Contender, folder: Path, part: Part) -> Usage:
    output = folder / "output" / program.name
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(exist_ok=True)
    usage = measure.run(
        program.command(part, output),
        output=str(output),
        folder=str(REPOSITORY),
        log=str(folder / f"{program.name}.log"),
    )
    made = contenders.pictures_in(output)
    shutil.rmtree(output)
    if made != part.records:
        raise RuntimeError(f"it wrote {made} of {part.records} pictures")
    return usage


def _figures(runs: Runs, options: Options) -> Figures:
    def best(some: Sequence[Usage], what: str) -> float:
        return min(getattr(usage, what) for usage in some)

    marginal = {
        key: (best(runs.all, what) - best(runs.few, what)) / options.more * 1e6
        for key, what in TIMES.items()
    }
    peak_mb = max(usage.peak_mb for usage in runs.all)
    return Figures(
        microseconds=marginal,
        startup_s=best(runs.few, "seconds") - options.few * marginal[""] / 1e6,
        peak_mb=peak_mb,
        memory_growth=peak_mb / max(usage.peak_mb for usage in runs.few) - 1,
    )


def _row(title: str, figures: Figures, ours: Figures, size: float) -> list[str]:
    marginal, ratio = figures.microseconds[""], _ratio(ours, figures, "")
    return [
        title,
        *(f"{figures.microseconds[key]:,.1f}" for key in TIMES),
        f"{size / marginal:,.0f}" if marginal > 0 else "too noisy",
        f"{figures.startup_s:.2f}",
        f"{figures.peak_mb:,.0f}",
        "" if figures is ours else f"{ratio} × it" if ratio else "–",
    ]


def _facts(programs: Sequence[Contender], figures: Mapping[str, Figures]) -> dict[str, Any]:
    ours = figures["ours"]
    facts: dict[str, Any] = {}
    for name in (one.name for one in programs):
        theirs = figures.get(name)
        for key in TIMES:
            facts[f"{name}_us{key}"] = theirs and round(theirs.microseconds[key], 2)
            if name != "ours":
                facts[f"vs_{name}{key}"] = theirs and _ratio(ours, theirs, key)
    return facts | {
        "startup_s": round(ours.startup_s, 3),
        "peak_memory_mb": round(ours.peak_mb, 1),
        "memory_growth": round(ours.memory_growth, 4),
    }


def _ratio(ours: Figures, theirs: Figures, key: str) -> float | None:
    """Our time over theirs; None where noise ate one of the differences."""
    a, b = ours.microseconds[key], theirs.microseconds[key]
    return round(a / b, 3) if a > 0 and b > 0 else None


if __name__ == "__main__":
    main(sys.argv[1:])
