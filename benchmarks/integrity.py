"""Measure what it costs to compare files with their receipts, and how fast `mmfeat verify` reads.

The encoder of `extract` and the model of `score` are the cheapest ones, so that the share of the
comparison is the largest. The files are warm.
"""

import contextlib
import io
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.datasets.generation import WORDS, write_csv
from benchmarks.harness.run import work_folder
from mmfeat.cli.main import main as mmfeat
from mmfeat.config import parse_args
from mmfeat.extraction import ExtractConfig, Extraction
from mmfeat.features import TableFiles
from mmfeat.scoring import ScoreConfig, Scoring
from mmfeat.storage import OutputFile
from mmfeat.store import Stage, integrity
from mmfeat.system import print_err, show_table
from mmfeat.verification import verify_store

_BLOCK = 1 << 20


@dataclass
class Options:
    """Measure the cost of checking files. The last line of the output is one JSON object."""

    rows: int = 20_000
    """Records of the store."""
    dim: int = 512
    """Length of their vectors."""
    repeat: int = 3
    """Runs of each measurement; the best counts."""
    folder: str = ""
    """Folder to keep and reuse the stores; default: a temporary folder."""


class _NoHash:
    """A hash that costs nothing."""

    def update(self, data: Any) -> None:
        pass


class _Timer:
    """Sums up the processor time of functions.

    The difference of two runs would be smaller than their noise.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.thread_time() - start

        return timed

    @contextmanager
    def time_checks(self) -> Iterator[None]:
        """Time the comparison of files with their receipts: receipts, passes, hashed streams."""

        def read(stream: integrity.CheckedStream, size: int | None = -1) -> bytes:
            data = stream._file.read(-1 if size is None else size)
            self.wrap(stream._hash.update)(data)
            return data

        def readinto(stream: integrity.CheckedStream, buffer: Any) -> int:
            count = int(stream._file.readinto(buffer))  # type: ignore[attr-defined]
            self.wrap(stream._hash.update)(memoryview(buffer)[:count])
            return count

        integrity._check_once.cache_clear()
        with (
            mock.patch.object(integrity, "_check_once", self.wrap(integrity._check_once)),
            mock.patch.object(integrity.CheckedStream, "read", read),
            mock.patch.object(integrity.CheckedStream, "readinto", readinto),
            mock.patch.object(TableFiles, "find_rows", self.wrap(TableFiles.find_rows)),
        ):
            yield


def main(arguments: Sequence[str]) -> None:
    """Make the stores, measure, print the results and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.integrity")
    torch.set_num_threads(1)
    with work_folder(options.folder) as folder:
        shards, features, model = _make_stores(folder, options)
        stages: dict[str, Callable[[str], Stage]] = {
            "extract": lambda output: Extraction(_extract_config(shards, output, options.dim)),
            "score": lambda output: Scoring(ScoreConfig(model, features, output)),
        }
        results: dict[str, Any] = {}
        for name, make_stage in stages.items():
            shutil.rmtree(folder / name, ignore_errors=True)  # of an earlier run
            results[name] = _measure_stage(make_stage, folder / name, options.repeat)
        results["write"] = _measure_writing(options.repeat)
        results["verify"] = {}
        for store in (shards, features):
            verified = [verify_store(store) for _ in range(options.repeat)]
            best = min(verified, key=lambda result: result.seconds)
            results["verify"][Path(store).name] = best.bytes / 1e6 / best.seconds
    _show(results, options)
    print(json.dumps({"rows": options.rows, "dim": options.dim} | results))


def _make_stores(folder: Path, options: Options) -> tuple[str, str, str]:
    table, names = folder / "texts.csv", ("shards", "features", "model")
    shards, features, model = (str(folder / name) for name in names)
    rng = random.Random(0)  # noqa: S311 - test data
    if not table.exists():
        rows = ((" ".join(rng.choices(WORDS, k=20)), rng.choice("ab")) for _ in range(options.rows))
        write_csv(table, ("text", "label"), rows)
    config = _extract_config(shards, features, options.dim)
    encoders = [word for spec in config.encoder for word in ("--encoder", spec)]
    train = ("--target", "label", "--epochs", "1", "--lr", "0.001")
    for command in (
        ("shard", str(table), shards, "--samples-per-shard", "1000", "--shuffle", "none"),
        ("extract", shards, features, *encoders),
        ("train", features, model, *train),
    ):
        print_err(f"integrity: mmfeat {' '.join(command)}")
        with contextlib.redirect_stdout(io.StringIO()):
            if mmfeat(list(command)):
                raise SystemExit(1)
    return shards, features, model


def _extract_config(shards: str, output: str, dim: int) -> ExtractConfig:
    return ExtractConfig(
        shards=shards, output=output, encoder=(f"text=builtin:text?dim={dim}",), threads=1
    )


def _measure_stage(
    make_stage: Callable[[str], Stage], folder: Path, repeat: int
) -> dict[str, float]:
    """Return the processor seconds of all shards, and the part of them that checks files."""
    runs = []
    for number in range(repeat):
        stage, timer = make_stage(str(folder / str(number))), _Timer()
        tasks, loaded = stage.plan(), stage.load()
        with timer.time_checks():
            start = time.process_time()
            for task in tasks:
                stage.process(task, loaded)
            seconds = time.process_time() - start
        runs.append((seconds, timer.seconds))
    seconds, checks = min(runs)
    return {"seconds": seconds, "checks": checks, "share": checks / (seconds - checks)}


def _measure_writing(repeat: int) -> dict[str, float]:
    """Return seconds per GB of hashing while writing: both digests, and sha256 alone."""
    block, blocks = bytes(_BLOCK), 256

    def write(with_xxh3: bool) -> float:
        output = OutputFile(io.BytesIO())
        output._file = _Sink()  # type: ignore[assignment]
        if not with_xxh3:
            output._xxh3 = _NoHash()  # type: ignore[assignment]
        start = time.process_time()
        for _ in range(blocks):
            output.write(block)
        return (time.process_time() - start) / (blocks * _BLOCK / 1e9)

    both = min(write(True) for _ in range(repeat))
    alone = min(write(False) for _ in range(repeat))
    return {"seconds": both, "checks": both - alone, "share": both / alone - 1}


class _Sink:
    def write(self, data: Any) -> int:
        return len(data)


def _show(results: dict[str, Any], options: Options) -> None:
    labels = {"write": "hash 1 GB while writing: XXH3-128 beside sha256"}
    rows = [
        (
            labels.get(name, name),
            *(f"{figures[key]:.3f}" for key in ("seconds", "checks")),
            f"{figures['share']:.2%}",
        )
        for name, figures in results.items()
        if name != "verify"
    ]
    title = f"{options.rows:,} records, vectors of {options.dim}"
    show_table(title, ["", "processor s", "of it checks", "cost"], rows)
    speeds = [(store, f"{speed:,.0f}") for store, speed in results["verify"].items()]
    show_table("mmfeat verify", ["store", "MB/s"], speeds)


if __name__ == "__main__":
    main(sys.argv[1:])
