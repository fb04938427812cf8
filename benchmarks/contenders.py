"""The programs that make shards of the same records: ours, the limit, and the peers."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.pictures import Part

REPOSITORY = Path(__file__).parents[1]
SAMPLES_PER_SHARD = 1000

Command = Callable[[Part, Path], list[str]]
"""Records and an output folder, which is not there yet → what to run."""


@dataclass(frozen=True)
class Contender:
    """A program under test."""

    name: str
    """As in the keys of the result."""
    title: str
    """As in the table."""
    command: Command
    absent: str = ""
    """Why it cannot run; empty where it can."""
    optional: bool = False
    """Its failure is noted and leaves the others' figures standing."""


def everyone(img2dataset_program: str, processes: int, skip: Sequence[str]) -> list[Contender]:
    """All programs, those that cannot or shall not run with the reason."""
    program = shutil.which(img2dataset_program or "img2dataset")
    title = f"img2dataset, {processes} processes, from a loopback server"
    command = img2dataset(program or "", processes)
    absent = "" if program else "not installed"
    programs = [
        Contender("ours", "mmfeat shard", ours),
        Contender("tar", "GNU tar (the limit)", gnu_tar),
        Contender("shardwriter", "webdataset.ShardWriter", shard_writer),
        Contender("img2dataset", title, command, absent, optional=True),
    ]
    return [replace(one, absent="skipped") if one.name in skip else one for one in programs]


def ours(part: Part, output: Path) -> list[str]:
    """`mmfeat shard` as it comes: pictures opened and checked, all bytes hashed."""
    return [sys.executable, "-m", "mmfeat", "shard", str(part.table), str(output)]


def gnu_tar(part: Part, output: Path) -> list[str]:
    """The limit: no table, no check, no hash, one tar."""
    output.mkdir(parents=True)
    tar = ["tar", "--create", f"--file={output}/all.tar", f"--directory={part.files.parent}"]
    return [*tar, f"--files-from={part.files}"]


def shard_writer(part: Part, output: Path) -> list[str]:
    """webdataset.ShardWriter in the usual loop."""
    script = Path(__file__).with_name("shard_writer.py")
    return [sys.executable, str(script), str(part.table), str(output)]


def img2dataset(program: str, processes: int) -> Command:
    """img2dataset, told to leave the pictures as they are."""
    options = {
        "input_format": "csv",
        "url_col": "url",
        "caption_col": "text",
        "output_format": "webdataset",
        "resize_mode": "no",
        "disable_all_reencoding": True,
        "processes_count": processes,
        "thread_count": 32,
        "number_sample_per_shard": SAMPLES_PER_SHARD,
    }

    def command(part: Part, output: Path) -> list[str]:
        paths = {"url_list": part.urls, "output_folder": output}
        flags = (f"--{name}={value}" for name, value in {**options, **paths}.items())
        # It goes by the environment: no way round the loopback, no look for updates.
        return ["env", "no_proxy=127.0.0.1", "NO_ALBUMENTATIONS_UPDATE=1", program, *flags]

    return command


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder from a process of its own; gives the address."""
    command = [sys.executable, "-m", "benchmarks.picture_server", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def pictures_in(output: Path) -> int:
    """Pictures in all tars of an output, to see that a program did what it was timed for."""
    count = 0
    for path in sorted(output.glob("*.tar")):
        with tarfile.open(path) as tar:
            count += sum(member.name.endswith(".jpg") for member in tar)
    return count


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
