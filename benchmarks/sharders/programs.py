"""The programs that shard the same records: mmfeat, the limit, and the peers."""

import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.datasets.jpegs import Subset

SAMPLES_PER_SHARD = 1000

Command = Callable[[Subset, Path], list[str]]
"""Records and an empty output folder → the command line."""


@dataclass(frozen=True)
class Program:
    """A program to time."""

    name: str
    """Name in the JSON keys."""
    title: str
    """Name in the table."""
    command: Command
    skip_reason: str = ""
    """Why the program is not run; empty if it is run."""
    optional: bool = False
    """A failure is reported and does not stop the benchmark."""


def list_programs(img2dataset_path: str, processes: int, skip: Sequence[str]) -> list[Program]:
    """Return all programs, with a skip reason for those that are not run."""
    path = shutil.which(img2dataset_path or "img2dataset")
    title = f"img2dataset, {processes} processes, from a loopback server"
    command = img2dataset_command(path or "", processes)
    skip_reason = "" if path else "not installed"
    programs = [
        Program("ours", "mmfeat shard", mmfeat_command),
        Program("tar", "GNU tar (the limit)", tar_command),
        Program("shardwriter", "webdataset.ShardWriter", shard_writer_command),
        Program("img2dataset", title, command, skip_reason, optional=True),
    ]
    return [replace(p, skip_reason="skipped") if p.name in skip else p for p in programs]


def mmfeat_command(subset: Subset, output: Path) -> list[str]:
    """Return `mmfeat shard` with default settings: it opens every image and hashes every byte."""
    return [sys.executable, "-m", "mmfeat", "shard", str(subset.table), str(output)]


def tar_command(subset: Subset, output: Path) -> list[str]:
    """Return GNU tar, the limit: one tar, no table, no check, no hash."""
    tar = ["tar", "--create", f"--file={output}/all.tar", f"--directory={subset.files.parent}"]
    return [*tar, f"--files-from={subset.files}"]


def shard_writer_command(subset: Subset, output: Path) -> list[str]:
    """Return the usual loop with webdataset.ShardWriter."""
    script = Path(__file__).with_name("shard_writer.py")
    return [sys.executable, str(script), str(subset.table), str(output)]


def img2dataset_command(path: str, processes: int) -> Command:
    """Return the command of img2dataset, without re-encoding."""
    settings = {
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

    def command(subset: Subset, output: Path) -> list[str]:
        paths = {"url_list": subset.urls, "output_folder": output}
        flags = (f"--{name}={value}" for name, value in {**settings, **paths}.items())
        # No proxy for the loopback, and no update check of albumentations.
        return ["env", "no_proxy=127.0.0.1", "NO_ALBUMENTATIONS_UPDATE=1", path, *flags]

    return command


def count_images(output: Path) -> int:
    """Count the images in all tars of an output folder."""
    count = 0
    for path in sorted(output.glob("*.tar")):
        with tarfile.open(path) as tar:
            count += sum(member.name.endswith(".jpg") for member in tar)
    return count
