"""Time `mmfeat extract` with CLIP, compared with the limit of this machine and clip-retrieval.

Each program runs in a process of its own, on the same tars and weights. The marginal time is the
time in the shards, without starting and loading.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.clip.clip_retrieval import run_clip_retrieval
from benchmarks.clip.figures import Figures, compare_features
from benchmarks.clip.limit import measure_limit
from benchmarks.clip.workspace import Workspace
from benchmarks.datasets.photos import PhotoDataset
from benchmarks.harness.encoding_run import EncodingRun
from benchmarks.harness.run import count_cores, work_folder
from mmfeat.config import RepeatedFlag, parse_args
from mmfeat.system import print_err


@dataclass
class Options:
    """Time `mmfeat extract` with CLIP ViT-B/32, its parts alone, and clip-retrieval.

    The last line of the output is one JSON object.
    """

    pictures: int = 1000
    """Number of images of 640 x 480 pixels, each with a caption."""
    folder: str = ""
    """Folder to keep and reuse images, shards and weights; default: a temporary folder."""
    clip_retrieval: str = ""
    """Path of the program clip-retrieval in its own virtual environment; default: from PATH."""
    clip_retrieval_batch: int = 256
    """Batch size of clip-retrieval, whose default is 256."""
    skip: RepeatedFlag = ()
    """Program to skip: clip-retrieval."""
    threads: int = 0
    """Threads of each program; 0 means one per core."""
    texts_only: bool = False
    """Encode no images."""
    pictures_only: bool = False
    """Encode no texts."""
    batch_size: int = 0
    """Batch size of mmfeat; 0 measures it during the run, as by default."""
    repeat: int = 1
    """Runs of each program; the fastest counts."""
    seed: int = 0
    """Seed of images and weights."""

    def __post_init__(self) -> None:
        if self.pictures < 2 or self.repeat < 1 or self.threads < 0:
            sys.exit("extract: --pictures must be at least 2, --repeat 1 and --threads 0")
        if self.texts_only and self.pictures_only:
            sys.exit("extract: --texts-only and --pictures-only exclude each other; drop one")
        if unknown := set(self.skip) - {"clip-retrieval"}:
            sys.exit(f"extract: --skip takes clip-retrieval; got {min(unknown)}")
        if self.clip_retrieval and not shutil.which(self.clip_retrieval):
            sys.exit(f"extract: --clip-retrieval must be a program; got {self.clip_retrieval}")

    @property
    def cores(self) -> int:
        """Threads of each program."""
        return self.threads or count_cores()

    @property
    def columns(self) -> list[str]:
        """The columns to encode."""
        selected = {"image": not self.texts_only, "text": not self.pictures_only}
        return [column for column, is_selected in selected.items() if is_selected]


def main(arguments: Sequence[str]) -> None:
    """Prepare the inputs, run all programs, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.extract")
    with work_folder(options.folder) as folder:
        photos = PhotoDataset(folder, options.pictures, options.seed)
        workspace = Workspace(folder, photos, options.columns, options.cores)
        print_err(f"extract: make {options.pictures:,} images, shards and weights in {folder}")
        workspace.prepare()
        runs, skip_reason = _run_programs(workspace, options)
        print_err("extract: full decoding, to compare features")
        flags = ("--precision=float32", "--full-decoding", "--batch-size=16")
        cosines = compare_features(runs, workspace.extract(workspace.subset, "full", *flags))
        print_err("extract: decoding, tokenizing and the forward alone")
        limit = measure_limit(workspace)
    figures = Figures(workspace, options.repeat, runs, skip_reason, limit)
    figures.show()
    print(json.dumps(figures.to_json() | cosines))


def _run_programs(workspace: Workspace, options: Options) -> tuple[dict[str, EncodingRun], str]:
    """Run the programs in turn.

    Returns:
        The fastest run of each program, and why clip-retrieval did not run.
    """
    program = shutil.which(options.clip_retrieval or "clip-retrieval")
    skip_reason = "" if program else "not installed"
    if "clip-retrieval" in options.skip:
        skip_reason = "skipped"
    programs: dict[str, Callable[[], EncodingRun]] = {
        "auto": lambda: _run_extract(workspace, options, "auto"),
        "float32": lambda: _run_extract(workspace, options, "float32"),
    }
    if program and not skip_reason:
        batch_size = options.clip_retrieval_batch
        programs["clip_retrieval"] = lambda: run_clip_retrieval(workspace, program, batch_size)
    fastest: dict[str, EncodingRun] = {}
    for repetition in range(options.repeat):
        for name, run_program in list(programs.items()):
            print_err(f"extract: run {repetition + 1} of {options.repeat}: {name}")
            try:
                run = run_program()
            except (RuntimeError, OSError) as error:
                if name != "clip_retrieval":
                    sys.exit(f"extract: {name}: {error}")
                print_err(f"extract: skip clip-retrieval: {error}")
                skip_reason = f"failed: {str(error).strip().splitlines()[-1]}"
                del programs[name]
                continue
            if name not in fastest or run.marginal_s < fastest[name].marginal_s:
                fastest[name] = run
    return fastest, skip_reason


def _run_extract(workspace: Workspace, options: Options, precision: str) -> EncodingRun:
    flags = (f"--precision={precision}", f"--batch-size={options.batch_size}")
    return workspace.extract(workspace.shards, precision, *flags)


if __name__ == "__main__":
    main(sys.argv[1:])
