"""How fast training is fed, beside a batch that never changes and beside the usual loaders.

All train the same module with the same step, in one process, in turn; only the source of the
batches differs. Memory is measured in processes of their own.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.contenders import REPOSITORY
from benchmarks.feature_rows import CLASSES, COLUMNS, write_store, write_tars
from benchmarks.folder import work_folder
from mmfeat.config.flags import parse_args
from mmfeat.system.console import print_err, show_table


@dataclass
class Options:
    """Time training from memory, from shuffled blocks, from DataLoader and from WebDataset.

    The last line of the output is one JSON object.
    """

    rows: int = 50_000
    """Training rows; 200,000 for figures to quote."""
    big_rows: int = 200_000
    """Training rows of the store that blocks are read from to see that size does not matter;
    2,000,000 for figures to quote, 3.6 GB. 0 leaves it out."""
    batch_size: int = 1024
    """Rows a step."""
    repeat: int = 5
    """Repetitions, all sources in turn in each; the median of the ratios counts."""
    seconds: float = 3.0
    """Longest that one source trains in a repetition; a whole epoch at most."""
    threads: int = 1
    """Threads of a matrix product."""
    precision: str = "float32"
    """float32 or bfloat16, of all sources."""
    folder: str = ""
    """Keep the stores and tars here; else a temporary folder."""
    memory_of: str = ""
    """Used by the benchmark itself: train an epoch from the store here, and end."""

    def __post_init__(self) -> None:
        if self.rows < self.batch_size or self.repeat < 1 or self.threads < 1:
            sys.exit("train: --rows must be a batch at least, --repeat and --threads at least 1")


Source = Callable[[], Iterable[Any]]
"""Gives the batches of an epoch."""

TITLES = {
    "ceiling": "one batch again and again (the limit)",
    "ram": "mmfeat, in memory",
    "block": "mmfeat, shuffled blocks",
    "dataloader_1": "DataLoader of rows, 1 worker",
    "dataloader_2": "DataLoader of rows, 2 workers",
    "webdataset": "WebDataset of .npy files, 1 worker",
    "block_big": "mmfeat, shuffled blocks, large store",
}


def main(arguments: Sequence[str]) -> None:
    """Time all sources, print the table and the JSON."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.train")
    import torch

    torch.set_num_threads(options.threads)
    if options.memory_of:
        _epoch(options, options.memory_of)
        return
    with work_folder(options.folder) as folder:
        print_err("train: making the stores")
        store = write_store(folder / f"{options.rows}", options.rows)
        big = (
            write_store(folder / f"{options.big_rows}", options.big_rows)
            if options.big_rows
            else ""
        )
        sources = _sources(options, folder, store, big)
        rates: dict[str, list[float]] = {name: [] for name in sources}
        trainer = _trainer(options, store)
        for turn in range(options.repeat):
            print_err(f"train: run {turn + 1} of {options.repeat}")
            for name, source in sources.items():
                rates[name].append(_rate(trainer, source(), options.seconds))
        loading = {name: _loading(sources[name]()) for name in ("ram", "block")}
        peaks = {
            name: _peak(options, folder, path)
            for name, path in (("small", store), ("big", big))
            if path
        }
    _show(options, rates, peaks)
    print(json.dumps(_facts(options, rates, peaks, loading)))


def _dataset(store: str, access: str) -> Any:
    from mmfeat.features.store import FeatureStore
    from training.data.dataset import load_dataset
    from training.data.split_rule import SplitRule
    from training.objectives.registry import OBJECTIVES

    opened = FeatureStore(store)
    columns = list(opened.columns.values())
    objective = OBJECTIVES["multiclass"]("label")
    return load_dataset(opened, columns, objective, SplitRule("split"), access=access)


def _trainer(options: Options, store: str) -> Any:
    """The module and its step, as `mmfeat train` has them."""
    import torch

    from mmfeat.models.architecture import Architecture
    from mmfeat.models.build import build_model
    from training.fit.device import CPU, DeviceConfig
    from training.fit.loop import Trainer

    architecture = Architecture(
        dims=COLUMNS, outputs=CLASSES, fusion="gmu", combination="mlp", modality_dropout=0.1
    )
    torch.manual_seed(0)
    return Trainer(
        build_model(architecture),
        _dataset(store, "blocks").objective,
        _recipe(options),
        1_000_000,
        DeviceConfig(CPU, options.precision),
    )


def _recipe(options: Options) -> Any:
    from training.fit.recipe import AdamWRecipe

    return AdamWRecipe(
        metric="accuracy",
        seed=0,
        epochs=1,
        lr=1e-3,
        weight_decay=0.01,
        batch_size=options.batch_size,
        patience=1,
    )


def _sources(options: Options, folder: Path, store: str, big: str) -> dict[str, Source]:
    """Name → the batches of an epoch, in the order they take turns."""
    from training.data.batches import Batches

    dataset, size = _dataset(store, "memory"), options.batch_size
    batches = Batches(dataset, size)
    fixed = next(iter(batches))
    block = Batches(_dataset(store, "blocks"), size)
    features, labels = dataset.features.all_rows(), dataset.targets[: options.rows]
    arrays = {name: part.features[: options.rows] for name, part in features.items()}
    tars = write_tars(folder / f"{options.rows}-tars", arrays, labels)
    sources: dict[str, Source] = {
        "ceiling": lambda: (fixed for _ in range(len(batches))),
        "ram": lambda: batches,
        "block": lambda: block,
        "dataloader_1": lambda: _dataloader(arrays, labels, size, 1),
        "dataloader_2": lambda: _dataloader(arrays, labels, size, 2),
        "webdataset": lambda: _webdataset(tars, size),
    }
    if big:
        large = Batches(_dataset(big, "blocks"), size)
        sources["block_big"] = lambda: large
    return sources


class Rows:
    """Rows one by one, as a map-style dataset gives them."""

    def __init__(self, features: dict[str, np.ndarray], labels: np.ndarray) -> None:
        self._features = features
        self._labels = labels

    def __len__(self) -> int:
        """Rows in all."""
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[dict[str, np.ndarray], int]:
        """A row: column → vector, and its class."""
        features = {name: values[row] for name, values in self._features.items()}
        return features, int(self._labels[row])


def _dataloader(
    features: dict[str, np.ndarray], labels: np.ndarray, size: int, workers: int
) -> Iterator[Any]:
    """torch's DataLoader with its default collate."""
    from torch.utils.data import DataLoader

    rows: Any = Rows(features, labels)
    for values, targets in DataLoader(rows, size, shuffle=True, num_workers=workers):
        yield _batch(values, targets)


def _webdataset(tars: list[str], size: int) -> Iterator[Any]:
    """webdataset's usual pipeline: tars in random order, a shuffle buffer, decode, collate."""
    import webdataset

    def row(sample: dict[str, Any]) -> tuple[dict[str, np.ndarray], int]:
        return {name: sample[f"{name}.npy"] for name in COLUMNS}, sample["json"]["label"]

    dataset = webdataset.WebDataset(tars, shardshuffle=len(tars), empty_check=False)
    dataset = dataset.shuffle(8192).decode().map(row)
    for values, targets in webdataset.WebLoader(dataset, batch_size=size, num_workers=1):
        yield _batch(values, targets)


def _batch(values: dict[str, Any], targets: Any) -> Any:
    import torch

    from training.data.resident import Batch

    there = torch.ones(len(targets), dtype=torch.bool)
    features = {name: vectors.float() for name, vectors in values.items()}
    return Batch(features, dict.fromkeys(features, there), targets)


def _rate(trainer: Any, batches: Iterable[Any], seconds: float) -> float:
    """Rows a second, from the first step on, of an epoch or what of it fits the time."""
    source = iter(batches)
    for batch in islice(source, 2):  # workers start, caches fill
        trainer.step(batch)
    rows, began = 0, perf_counter()
    for batch in source:
        trainer.step(batch)
        rows += len(batch.targets)
        if perf_counter() - began > seconds:
            break
    took = perf_counter() - began
    close = getattr(source, "close", None)
    if close:
        close()
    return rows / took


def _loading(batches: Iterable[Any]) -> float:
    """Rows a second of a source when nobody trains, over its second epoch."""
    for _ in range(2):
        began = perf_counter()
        rows = sum(len(batch.targets) for batch in batches)
    return rows / (perf_counter() - began)


def _epoch(options: Options, store: str) -> None:
    """What the peak of memory is taken of: an epoch of `fit_adamw`, from blocks."""
    from mmfeat.models.architecture import Architecture
    from training.fit.loop import fit_adamw

    layers = {"fusion": "gmu", "combination": "mlp", "modality_dropout": 0.1}
    architecture = Architecture(dims=COLUMNS, outputs=CLASSES, **layers)
    fit_adamw(architecture, _dataset(store, "blocks"), _recipe(options))


def _peak(options: Options, folder: Path, store: str) -> float:
    print_err(f"train: memory of an epoch from {store}")
    command = [sys.executable, "-m", "benchmarks.train", f"--memory-of={store}"]
    command += [f"--batch-size={options.batch_size}", f"--rows={options.rows}"]
    output, log = folder / "no-output", str(folder / "memory.log")
    usage = measure.run(command, output=str(output), folder=str(REPOSITORY), log=log)
    return usage.peak_mb


def _against(rates: dict[str, list[float]], name: str, other: str) -> float | None:
    """Median of the ratios of both rates, each of one repetition."""
    if name not in rates or other not in rates:
        return None
    pairs = zip(rates[name], rates[other], strict=True)
    return round(statistics.median(one / two for one, two in pairs), 3)


def _facts(
    options: Options,
    rates: dict[str, list[float]],
    peaks: dict[str, float],
    loading: dict[str, float],
) -> dict[str, Any]:
    rows = {name: round(statistics.median(found)) for name, found in rates.items()}
    best_dataloader = max(("dataloader_1", "dataloader_2"), key=rows.__getitem__)
    return {
        "rows": options.rows,
        "big_rows": options.big_rows,
        "batch_size": options.batch_size,
        "precision": options.precision,
        "threads": options.threads,
        "repeat": options.repeat,
        "vs_ceiling_ram": _against(rates, "ram", "ceiling"),
        "vs_ceiling_block": _against(rates, "block", "ceiling"),
        "vs_dataloader": _against(rates, "ram", best_dataloader),
        "vs_webdataset": _against(rates, "block", "webdataset"),
        **{f"rows_per_second_{name}": rate for name, rate in rows.items()},
        **{f"loading_rows_per_second_{name}": round(rate) for name, rate in loading.items()},
        "block_2m_vs_200k": _against(rates, "block_big", "block"),
        "peak_mb_200k": round(peaks["small"], 1),
        "peak_mb_2m": round(peaks["big"], 1) if "big" in peaks else None,
    }


def _show(options: Options, rates: dict[str, list[float]], peaks: dict[str, float]) -> None:
    table = []
    for name, found in rates.items():
        share = _against(rates, name, "ceiling")
        rate = f"{statistics.median(found):,.0f}"
        table.append([TITLES[name], rate, f"{min(found):,.0f} - {max(found):,.0f}", f"{share:.2f}"])
    title = f"{options.rows:,} training rows, {options.threads} threads, {options.precision}"
    show_table(title, ["", "rows/s", "range", "× the limit"], table)
    sizes = {"small": options.rows, "big": options.big_rows}
    memory = [[f"{sizes[name]:,} rows", f"{peak:,.0f} MB"] for name, peak in peaks.items()]
    show_table("Peak memory of an epoch from blocks", ["", ""], memory)


if __name__ == "__main__":
    main(sys.argv[1:])
