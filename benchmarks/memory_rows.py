"""Measure how the memory of `mmfeat train` and `mmfeat evaluate` grows with the number of rows."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.run import REPOSITORY, work_folder
from benchmarks.loaders.feature_rows import write_store
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

_COLUMNS = {"image": 32, "text": 16}
"""Narrow columns: what grows is the cost of a row, not of its features."""

_SAMPLE_SECONDS = 0.01


@dataclass
class Options:
    """Measure the memory of train, from memory and from blocks, and of evaluate. Linux only.

    Heap is RssAnon of the kernel, mapped files are RssFile. The last line of the output is one JSON
    object.
    """

    rows: tuple[int, ...] = field(default=(40_000, 160_000, 640_000))
    """Training rows of each store; a quarter as many validation rows come on top. The blocks that
    training shuffles together have 32,768 rows: memory grows with the rows of smaller stores."""
    epochs: int = 3
    """Epochs of each training."""
    folder: str = ""
    """Folder to keep and reuse stores; default: a temporary folder."""


@dataclass(frozen=True)
class Memory:
    """The peaks of one process, in 10^6 bytes.

    Attributes:
        heap: anonymous memory.
        files: mapped files; the kernel drops their pages when memory runs short.
    """

    heap: float
    files: float


def main(arguments: Sequence[str]) -> None:
    """Measure all commands on all stores, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.memory_rows")
    peaks: dict[str, dict[int, Memory]] = {}
    with work_folder(options.folder) as folder:
        for rows in options.rows:
            print_err(f"memory_rows: {rows:,} rows")
            store = write_store(
                folder / f"narrow-{rows}",
                rows,
                _COLUMNS,
                validation_rows=rows // 4,
            )
            for name, command in _commands(folder, store, options).items():
                peaks.setdefault(name, {})[rows] = _measure(command, folder / f"{name}.log")
    table = [
        [
            name,
            *(f"{peak.heap:,.0f} + {peak.files:,.0f} MB" for peak in by_rows.values()),
            f"{_heap_per_row(by_rows):,.0f} bytes",
        ]
        for name, by_rows in peaks.items()
    ]
    titles = [*(f"{rows:,} rows" for rows in options.rows), "heap per row"]
    show_table("Peak of heap + mapped files", ["", *titles], table)
    print(json.dumps(_to_json(options, peaks)))


def _commands(folder: Path, store: str, options: Options) -> dict[str, list[str]]:
    """Return the commands in the order in which they run; evaluate reads the last model."""
    model = f"{store}-model"
    for path in (model, f"{model}-memory"):  # a finished model would not be trained again
        shutil.rmtree(path, ignore_errors=True)
    train = ["train", store, "--target=label", f"--epochs={options.epochs}"]
    train += ["--device=cpu", "--precision=float32", "--lr=1e-3"]
    return {
        "train_memory": [*train, f"{model}-memory", "--access=memory"],
        "train_blocks": [*train, model, "--access=blocks"],
        "evaluate": ["evaluate", model, store, "--split=all"],
    }


def _measure(command: Sequence[str], log: Path) -> Memory:
    """Run a command of mmfeat and sample its memory.

    Raises:
        RuntimeError: the command failed.
    """
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmfeat", *command],
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
        )
        heap, mapped = 0.0, 0.0
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            heap = max(heap, _megabytes(status, "RssAnon"))
            mapped = max(mapped, _megabytes(status, "RssFile"))
            time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"mmfeat {' '.join(command)} failed:\n{log.read_text()}")
    return Memory(heap, mapped)


def _heap_per_row(peaks: Mapping[int, Memory]) -> float:
    """Return by how much the heap grows from the smallest to the largest store, per row."""
    fewest, most = min(peaks), max(peaks)
    rows = max(1, (most + most // 4) - (fewest + fewest // 4))
    return (peaks[most].heap - peaks[fewest].heap) * 1e6 / rows


def _megabytes(status: str, name: str) -> float:
    match = re.search(rf"{name}:\s+([0-9]+) kB", status)
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def _to_json(options: Options, peaks: dict[str, dict[int, Memory]]) -> dict[str, object]:
    return {
        "rows": options.rows,
        **{
            f"{kind}_mb_{name}": [round(getattr(peak, kind), 1) for peak in by_rows.values()]
            for name, by_rows in peaks.items()
            for kind in ("heap", "files")
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
