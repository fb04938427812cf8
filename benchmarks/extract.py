"""How fast `mmfeat extract` runs CLIP, beside the limit of this machine and clip-retrieval.

Programs run in processes of their own, on the same tars and the same weights. Their marginal time
is that of the shards, which leaves out what starting and loading cost. `benchmarks.clip_work` makes
the folder, `benchmarks.clip_limit` times each part alone, `benchmarks.clip_figures` tells it all.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import contenders
from benchmarks.clip_figures import Figures, likeness
from benchmarks.clip_limit import measure_limit
from benchmarks.clip_retrieval import run_clip_retrieval
from benchmarks.clip_work import Work
from benchmarks.folder import work_folder
from benchmarks.photos import Photos
from benchmarks.runs import EncodingRun
from mmfeat.config.flags import RepeatedFlag, parse_args
from mmfeat.system.console import print_err


@dataclass
class Options:
    """Time `mmfeat extract` with CLIP ViT-B/32, its parts alone, and clip-retrieval.

    The last line of the output is one JSON object.
    """

    pictures: int = 1000
    """Pictures of 640 x 480 to encode, with a caption each."""
    folder: str = ""
    """Keep pictures, shards and weights here and use them again; else a temporary folder."""
    clip_retrieval: str = ""
    """The program clip-retrieval, of a virtual environment of its own; looked for on PATH."""
    clip_retrieval_batch: int = 256
    """Its batch size; 256 is its default."""
    skip: RepeatedFlag = ()
    """A program to leave out: clip-retrieval."""
    threads: int = 0
    """Threads of each program; 0 takes one a core."""
    texts_only: bool = False
    """Encode no pictures."""
    pictures_only: bool = False
    """Encode no texts."""
    batch_size: int = 0
    """Ours; 0 has it measured, as by default, which the whole run pays for."""
    repeat: int = 1
    """Runs of each program; the fastest counts."""
    seed: int = 0
    """Another seed makes other pictures and weights."""

    def __post_init__(self) -> None:
        if self.pictures < 2 or self.repeat < 1 or self.threads < 0:
            sys.exit("extract: --pictures must be at least 2, --repeat 1 and --threads 0")
        if self.texts_only and self.pictures_only:
            sys.exit("extract: --texts-only and --pictures-only leave nothing to do")
        if unknown := set(self.skip) - {"clip-retrieval"}:
            sys.exit(f"extract: --skip takes clip-retrieval; got {min(unknown)}")
        if self.clip_retrieval and not shutil.which(self.clip_retrieval):
            sys.exit(f"extract: there is no program {self.clip_retrieval}")

    @property
    def cores(self) -> int:
        """Threads that everything gets."""
        return self.threads or contenders.cores()

    @property
    def columns(self) -> list[str]:
        """What is encoded."""
        every = {"image": not self.texts_only, "text": not self.pictures_only}
        return [column for column, wanted in every.items() if wanted]


def main(arguments: Sequence[str]) -> None:
    """Make everything, run everything, print the table and the JSON."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.extract")
    with work_folder(options.folder) as folder:
        photos = Photos(folder, options.pictures, options.seed)
        work = Work(folder, photos, options.columns, options.cores)
        print_err(f"extract: making {options.pictures:,} pictures, shards and weights in {folder}")
        work.prepare()
        runs, absent = _run_all(work, options)
        print_err("extract: full decoding, to compare")
        flags = ("--precision=float32", "--full-decoding", "--batch-size=16")
        alike = likeness(runs, work.extract(work.few, "full", *flags))
        print_err("extract: decoding, tokenising and the forward alone")
        limit = measure_limit(work)
    figures = Figures(work, options.repeat, runs, absent, limit)
    figures.show()
    print(json.dumps(figures.facts() | alike))


def _run_all(work: Work, options: Options) -> tuple[dict[str, EncodingRun], str]:
    """Run all in turn; the fastest run of each, and why clip-retrieval has none."""
    program = shutil.which(options.clip_retrieval or "clip-retrieval")
    absent = "" if program else "not installed"
    if "clip-retrieval" in options.skip:
        absent = "skipped"
    todo: dict[str, Callable[[], EncodingRun]] = {
        "auto": lambda: _ours(work, options, "auto"),
        "float32": lambda: _ours(work, options, "float32"),
    }
    if program and not absent:
        batch_size = options.clip_retrieval_batch
        todo["clip_retrieval"] = lambda: run_clip_retrieval(work, program, batch_size)
    best: dict[str, EncodingRun] = {}
    for turn in range(options.repeat):
        for name, action in list(todo.items()):
            print_err(f"extract: run {turn + 1} of {options.repeat}: {name}")
            try:
                run = action()
            except (RuntimeError, OSError) as error:
                if name != "clip_retrieval":
                    sys.exit(f"extract: {name}: {error}")
                print_err(f"extract: clip-retrieval is left out: {error}")
                absent = f"failed: {str(error).strip().splitlines()[-1]}"
                del todo[name]
                continue
            if name not in best or run.marginal_s < best[name].marginal_s:
                best[name] = run
    return best, absent


def _ours(work: Work, options: Options, precision: str) -> EncodingRun:
    flags = (f"--precision={precision}", f"--batch-size={options.batch_size}")
    return work.extract(work.shards, precision, *flags)


if __name__ == "__main__":
    main(sys.argv[1:])
