"""Time the batch sources of training: mmfeat, a fixed batch, DataLoader and WebDataset.

All sources train the same module with the same step, in one process, in turn. Only the source of
the batches differs. Memory is measured in processes of their own.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.run import run_command, work_folder
from benchmarks.loaders.batch_sources import TITLES, load_store, make_sources
from benchmarks.loaders.feature_rows import CLASSES, COLUMNS, write_store
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table


@dataclass
class Options:
    """Time training from memory, from shuffled blocks, from DataLoader and from WebDataset.

    The last line of the output is one JSON object.
    """

    rows: int = 50_000
    """Training rows; use 200,000 for figures to quote."""
    big_rows: int = 200_000
    """Training rows of the large store; use 2,000,000 (3.6 GB) for figures to quote; 0 skips it."""
    batch_size: int = 1024
    """Rows per step."""
    repeat: int = 5
    """Repetitions, each with all sources in turn; the median of the ratios counts."""
    seconds: float = 3.0
    """Longest time per source and repetition; at most one epoch."""
    threads: int = 1
    """Threads of a matrix product."""
    precision: str = "float32"
    """float32 or bfloat16, for all sources."""
    folder: str = ""
    """Folder to keep and reuse stores and tars; default: a temporary folder."""
    memory_of: str = ""
    """Internal: train one epoch from this store and exit."""

    def __post_init__(self) -> None:
        if self.rows < self.batch_size or self.repeat < 1 or self.threads < 1:
            sys.exit("train: --rows must be at least --batch-size, --repeat and --threads 1")


def main(arguments: Sequence[str]) -> None:
    """Time all sources, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.train")
    import torch

    torch.set_num_threads(options.threads)
    if options.memory_of:
        _train_epoch(options, options.memory_of)
        return
    sizes = {"small": options.rows, "big": options.big_rows}
    with work_folder(options.folder) as folder:
        print_err("train: make the stores")
        stores = {
            name: write_store(folder / f"{rows}", rows) for name, rows in sizes.items() if rows
        }
        sources = make_sources(
            folder,
            stores["small"],
            stores.get("big", ""),
            rows=options.rows,
            batch_size=options.batch_size,
        )
        rates: dict[str, list[float]] = {name: [] for name in sources}
        trainer = _make_trainer(options, stores["small"])
        for repetition in range(options.repeat):
            print_err(f"train: run {repetition + 1} of {options.repeat}")
            for name, source in sources.items():
                rates[name].append(_training_rate(trainer, source(), options.seconds))
        loading = {name: _loading_rate(sources[name]()) for name in ("ram", "block")}
        peaks = {name: _peak_memory(options, folder, path) for name, path in stores.items()}
    _show(options, rates, {sizes[name]: peak for name, peak in peaks.items()})
    print(json.dumps(_to_json(options, rates, peaks, loading)))


def _make_trainer(options: Options, store: str) -> Any:
    """Return the module and the step of `mmfeat train`."""
    import torch

    from mmfeat.models.build import build_model
    from training.fit.device import CPU, ComputeConfig
    from training.fit.steps.trainer import Trainer

    torch.manual_seed(0)
    return Trainer(
        build_model(_architecture()),
        load_store(store, "blocks").objective,
        _recipe(options),
        1_000_000,
        ComputeConfig(CPU, options.precision),
    )


def _architecture() -> Any:
    from mmfeat.models.architecture import Architecture

    return Architecture(
        dims=COLUMNS, outputs=CLASSES, fusion="gmu", combination="mlp", modality_dropout=0.1
    )


def _recipe(options: Options) -> Any:
    from training.recipe import AdamWRecipe

    return AdamWRecipe(
        metric="accuracy",
        seed=0,
        epochs=1,
        lr=1e-3,
        weight_decay=0.01,
        batch_size=options.batch_size,
        patience=1,
    )


def _training_rate(trainer: Any, batches: Iterable[Any], seconds: float) -> float:
    """Return the rows per second of an epoch, cut off after the given seconds."""
    source, step = iter(batches), trainer.make_step(lambda batch: batch)
    for batch in islice(source, 2):  # the first batches pay for workers and caches
        step(batch)
    rows, started = 0, perf_counter()
    for batch in source:
        step(batch)
        rows += len(batch.targets)
        if perf_counter() - started > seconds:
            break
    elapsed = perf_counter() - started
    if close := getattr(source, "close", None):
        close()
    return rows / elapsed


def _loading_rate(batches: Iterable[Any]) -> float:
    """Return the rows per second without training, in the second epoch of a source."""
    for _ in range(2):
        started = perf_counter()
        rows = sum(len(batch.targets) for batch in batches)
    return rows / (perf_counter() - started)


def _train_epoch(options: Options, store: str) -> None:
    """Train one epoch with `fit_adamw` from blocks."""
    from training.fit.loop import fit_adamw

    fit_adamw(_architecture(), load_store(store, "blocks"), _recipe(options))


def _peak_memory(options: Options, folder: Path, store: str) -> float:
    """Return the peak memory in MB of an epoch, trained in another process."""
    print_err(f"train: memory of an epoch from {store}")
    command = [sys.executable, "-m", "benchmarks.train", f"--memory-of={store}"]
    command += [f"--batch-size={options.batch_size}", f"--rows={options.rows}"]
    return run_command(command, folder / "memory").peak_mb


def _median_ratio(rates: dict[str, list[float]], name: str, other: str) -> float | None:
    """Return the median over the repetitions of the ratio of two rates."""
    if name not in rates or other not in rates:
        return None
    pairs = zip(rates[name], rates[other], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 3)


def _to_json(
    options: Options,
    rates: dict[str, list[float]],
    peaks: dict[str, float],
    loading: dict[str, float],
) -> dict[str, Any]:
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    best_dataloader = max(("dataloader_1", "dataloader_2"), key=medians.__getitem__)
    return {
        "rows": options.rows,
        "big_rows": options.big_rows,
        "batch_size": options.batch_size,
        "precision": options.precision,
        "threads": options.threads,
        "repeat": options.repeat,
        "vs_ceiling_ram": _median_ratio(rates, "ram", "ceiling"),
        "vs_ceiling_block": _median_ratio(rates, "block", "ceiling"),
        "vs_dataloader": _median_ratio(rates, "ram", best_dataloader),
        "vs_webdataset": _median_ratio(rates, "block", "webdataset"),
        **{f"rows_per_second_{name}": rate for name, rate in medians.items()},
        **{f"loading_rows_per_second_{name}": round(rate) for name, rate in loading.items()},
        "block_2m_vs_200k": _median_ratio(rates, "block_big", "block"),
        "peak_mb_200k": round(peaks["small"], 1),
        "peak_mb_2m": round(peaks["big"], 1) if "big" in peaks else None,
    }


def _show(options: Options, rates: dict[str, list[float]], peaks: dict[int, float]) -> None:
    """Print the tables; peaks are rows → MB."""
    rows = []
    for name, values in rates.items():
        ratio, median = _median_ratio(rates, name, "ceiling"), statistics.median(values)
        value_range = f"{min(values):,.0f} - {max(values):,.0f}"
        rows.append([TITLES[name], f"{median:,.0f}", value_range, f"{ratio:.2f}"])
    title = f"{options.rows:,} training rows, {options.threads} threads, {options.precision}"
    show_table(title, ["", "rows/s", "range", "× the limit"], rows)
    memory = [[f"{size:,} rows", f"{peak:,.0f} MB"] for size, peak in peaks.items()]
    show_table("Peak memory of an epoch from blocks", ["", ""], memory)


if __name__ == "__main__":
    main(sys.argv[1:])
