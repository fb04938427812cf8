"""Time `mmfeat score` against the forward pass alone, against reading and writing alone, and fused
scoring of shards against `mmfeat extract` alone.

All parts of a figure run in turn on the same machine. Wall times count; under other load, ratios
of processor seconds are steadier.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.clip.workspace import Workspace
from benchmarks.datasets.photos import PhotoDataset
from benchmarks.harness.measure import Usage
from benchmarks.harness.run import count_cores, run_command, work_folder
from benchmarks.loaders.feature_rows import COLUMNS, write_store
from mmfeat.config import parse_args
from mmfeat.system import print_err, show_table

_FORWARD_ROWS = 100_000
"""Rows in memory for the forward pass alone; it runs over them again and again."""

_BATCH = 512


@dataclass
class Options:
    """Time scoring of cached features and of shards. The last line is one JSON object.

    `vs_forward` is rows/s of `mmfeat score`, start to end, over rows/s of the model in memory on
    the same cores; `vs_io` the same over reading and writing alone; `memory_growth` the peak memory
    with all rows over the peak with a tenth; `fused_vs_extract` records/s of scoring shards over
    records/s of `mmfeat extract` on the same shards, by encoder.
    """

    rows: int = 2_000_000
    """Rows of cached features (512 + 384); 0 skips them."""
    records: int = 4000
    """Records (a photo and a text) for built-in encoders; 0 skips them."""
    neural_records: int = 400
    """Records for CLIP ViT-B/32 with random weights; 0 skips it."""
    repeat: int = 2
    """Repetitions of each part, in turn; the fastest counts."""
    forward_seconds: float = 5.0
    """Seconds of each forward pass."""
    folder: str = ""
    """Folder to keep and reuse stores; default: a temporary folder."""
    part: str = ""
    """Internal: `forward` or `io`, run this part in this process."""


class Times(NamedTuple):
    """Wall and processor seconds of a part."""

    wall: float
    processor: float


def main(arguments: Sequence[str]) -> None:
    """Make the stores, measure, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.score")
    if options.part:
        part = {"forward": _run_forward, "io": _run_io}[options.part]
        print(json.dumps(part(Path(options.folder), options)))
        return
    with work_folder(options.folder) as folder:
        results: dict[str, Any] = {"rows": options.rows, "cores": count_cores()}
        if options.rows:
            results |= _measure_features(folder, options)
        fused: dict[str, float] = {}
        if options.records:
            fused["builtin"] = _measure_builtin(folder / "builtin", options, results)
        if options.neural_records:
            fused["neural"] = _measure_neural(folder / "neural", options, results)
        results["fused_vs_extract"] = fused
    show_table("score", ["figure", "value"], [[k, str(v)] for k, v in results.items()])
    print(json.dumps(results))


def _measure_features(folder: Path, options: Options) -> dict[str, Any]:
    """Score all rows and a tenth of them; run the forward pass and the disk alone."""
    few = options.rows // 10
    print_err("score: make the stores")
    stores = {rows: write_store(folder / f"features-{rows}", rows) for rows in (few, options.rows)}
    model = folder / "model"
    if not (model / "manifest.json").exists():
        flags = "--target label --fusion gmu --combination mlp --epochs 1 --lr 0.001".split()
        _mmfeat("train", stores[few], model, *flags)
    usages: dict[int, list[Usage]] = {few: [], options.rows: []}
    forward: list[dict[str, float]] = []
    disk: list[dict[str, float]] = []
    for number in range(options.repeat):
        print_err(f"score: run {number + 1} of {options.repeat}")
        forward.append(_run_part("forward", folder, options))
        for rows, store in stores.items():
            output = folder / f"predictions-{rows}"
            usages[rows].append(_mmfeat("score", model, store, output))
        disk.append(_run_part("io", folder, options))
        forward.append(_run_part("forward", folder, options))
    best = {rows: min(found, key=lambda usage: usage.seconds) for rows, found in usages.items()}
    whole, part = best[options.rows], best[few]
    rows = options.rows + 1024  # with those for validation
    limit = max(found["rows_per_second"] for found in forward)
    reading = min(found["seconds"] for found in disk)
    marginal = (options.rows - few) / (whole.seconds - part.seconds)
    return {
        "forward_rows_per_second": round(limit),
        "score_rows_per_second": round(rows / whole.seconds),
        "score_rows_per_second_without_start": round(marginal),
        "score_seconds": round(whole.seconds, 1),
        "io_seconds": round(reading, 1),
        "processor_us_per_row": {
            "forward": round(min(found["processor_us"] for found in forward), 1),
            "io": round(min(found["processor_us"] for found in disk), 1),
            "score": round(1e6 * whole.processor_seconds / rows, 1),
        },
        "peak_mb": {"tenth": round(part.peak_mb), "all": round(whole.peak_mb)},
        "vs_forward": round(rows / whole.seconds / limit, 3),
        "vs_forward_without_start": round(marginal / limit, 3),
        "vs_io": round(reading / whole.seconds, 3),
        "memory_growth": round(whole.peak_mb / part.peak_mb, 3),
    }


def _mmfeat(command: str, *arguments: object) -> Usage:
    """Run a command of mmfeat in a process of its own; its last path is the output."""
    words = [str(argument) for argument in arguments]
    output = [word for word in words if not word.startswith("-")]
    place = 1 if command == "train" else 2
    program = [sys.executable, "-m", "mmfeat", command, *words]
    return run_command(program, Path(output[place]))


def _run_part(part: str, folder: Path, options: Options) -> dict[str, float]:
    flags = [f"--part={part}", f"--folder={folder}", f"--rows={options.rows}"]
    flags += [f"--forward-seconds={options.forward_seconds}"]
    output = folder / f"part-{part}"
    run_command([sys.executable, "-m", "benchmarks.score", *flags], output)
    found: dict[str, float] = json.loads(output.with_name(f"{output.name}.log").read_text())
    return found


def _run_forward(folder: Path, options: Options) -> dict[str, float]:
    """Run the model over features in memory, as fast as the cores can: float16 to logits."""
    import torch

    from mmfeat.models.saved_model import load_model

    module = load_model(str(folder / "model")).module.eval()
    rng = np.random.default_rng(0)
    features = {
        name: torch.from_numpy(rng.standard_normal((_FORWARD_ROWS, dim), np.float32)).half()
        for name, dim in COLUMNS.items()
    }
    present = {name: torch.ones(_FORWARD_ROWS, dtype=torch.bool) for name in COLUMNS}

    def run(starts: Sequence[int]) -> None:
        with torch.inference_mode():
            for start in starts:
                batch = slice(start, start + _BATCH)
                module(
                    {name: values[batch].float() for name, values in features.items()},
                    {name: values[batch] for name, values in present.items()},
                )

    starts = range(0, _FORWARD_ROWS, _BATCH)
    cores = count_cores()
    rates: dict[str, tuple[float, float]] = {}
    for name, threads, workers in (("one", cores, 1), ("many", 1, cores)):
        torch.set_num_threads(threads)
        with ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(threads,)
        ) as pool:
            parts = [starts[n::workers] for n in range(workers)]
            list(pool.map(run, parts))  # warm
            wall, processor, passes = perf_counter(), process_time(), 0
            while perf_counter() - wall < options.forward_seconds / 2:
                list(pool.map(run, parts))
                passes += 1
            rows = passes * _FORWARD_ROWS
            rates[name] = rows / (perf_counter() - wall), 1e6 * (process_time() - processor) / rows
    best, microseconds = max(rates.values())
    return {"rows_per_second": best, "processor_us": microseconds}


def _run_io(folder: Path, options: Options) -> dict[str, float]:
    """Read and check all features, and write the predictions that exist, with receipts."""
    import pyarrow.parquet as pq

    from mmfeat.features import FeatureStore
    from mmfeat.store import Receipt, ShardAttempt

    store = FeatureStore(str(folder / f"features-{options.rows}"))
    written = folder / f"predictions-{options.rows}" / "data"
    output = folder / "io"
    shutil.rmtree(output, ignore_errors=True)
    tables = {name: pq.read_table(written / f"{name}.parquet") for name in store.shards}

    def copy(shard: str) -> None:
        for name in COLUMNS:
            store.read_column(name, shard)
        store.read_samples(shard, ["__key__", "status"])
        attempt = ShardAttempt(str(output), shard, fresh=True)
        with attempt.create(f"data/{shard}.parquet") as file:
            pq.write_table(tables[shard], file, compression="zstd")
        rows = store.shards[shard]
        attempt.commit(Receipt(shard, "0" * 64, rows, rows))

    wall, processor = perf_counter(), process_time()
    with ThreadPoolExecutor(count_cores()) as pool:
        list(pool.map(copy, store.shards))
    seconds = perf_counter() - wall
    return {
        "seconds": seconds,
        "processor_us": 1e6 * (process_time() - processor) / store.records,
    }


def _measure_builtin(folder: Path, options: Options, results: dict[str, Any]) -> float:
    photos = PhotoDataset(folder, options.records, seed=0)
    photos.generate()
    return _measure_fused(folder, photos, {}, options, results)


def _measure_neural(folder: Path, options: Options, results: dict[str, Any]) -> float:
    photos = PhotoDataset(folder, options.neural_records, seed=0)
    workspace = Workspace(folder, photos, ("image", "text"), count_cores())
    workspace.prepare()
    encoders = dict.fromkeys(("image", "text"), workspace.encoder)
    return _measure_fused(folder, photos, encoders, options, results)


def _measure_fused(
    folder: Path,
    photos: PhotoDataset,
    encoders: Mapping[str, str],
    options: Options,
    results: dict[str, Any],
) -> float:
    """Return records/s of fused scoring over records/s of extract, both within the shards."""
    from mmfeat.extraction import ExtractConfig, Extraction
    from mmfeat.scoring import ScoreConfig, Scoring

    shards, features, model = (folder / name for name in ("all", "features", "model"))
    flags = tuple(f"{column}={encoder}" for column, encoder in encoders.items())
    if not (model / "manifest.json").exists():
        table = _write_table(folder, photos)
        size = min(photos.size, 1000)  # as many as by default: batches are padded
        _mmfeat_to(shards, "shard", table, shards, f"--samples-per-shard={size}")
        extract_flags = [f"--encoder={flag}" for flag in flags]
        _mmfeat_to(features, "extract", shards, features, "--device=cpu", *extract_flags)
        train = "--target label --fusion gmu --combination mlp --epochs 1 --lr 0.001".split()
        _mmfeat_to(model, "train", features, model, *train)
    outputs = {name: str(folder / f"timed-{name}") for name in ("extract", "score")}
    stages: dict[str, Callable[[], Any]] = {
        "extract": lambda: Extraction(
            ExtractConfig(str(shards), outputs["extract"], flags, device="cpu")
        ),
        "score": lambda: Scoring(
            ScoreConfig(str(model), str(shards), outputs["score"], device="cpu")
        ),
    }
    times: dict[str, list[Times]] = {name: [] for name in stages}
    for number in range(options.repeat + 1):  # the first one is not counted
        for name, make_stage in stages.items():
            shutil.rmtree(outputs[name], ignore_errors=True)
            found = _time_shards(make_stage())
            if number:
                times[name].append(found)
    kind = "neural" if encoders else "builtin"
    best = {name: min(found) for name, found in times.items()}
    results[f"{kind}_processor_ms_per_record"] = {
        name: round(1000 * min(t.processor for t in found) / photos.size, 3)
        for name, found in times.items()
    }
    results[f"{kind}_records_per_second"] = {
        name: round(photos.size / found.wall, 1) for name, found in best.items()
    }
    return round(best["extract"].wall / best["score"].wall, 3)


def _time_shards(stage: Any) -> Times:
    """Make all shards of a stage in this process."""
    tasks = stage.plan()
    loaded = stage.load()
    wall, processor = perf_counter(), process_time()
    for task in tasks:
        stage.process(task, loaded)
    return Times(perf_counter() - wall, process_time() - processor)


def _mmfeat_to(output: Path, command: str, *arguments: object) -> None:
    run_command([sys.executable, "-m", "mmfeat", command, *map(str, arguments)], output)


def _write_table(folder: Path, photos: PhotoDataset) -> Path:
    """Write the table of the photos with a label that the caption tells."""
    from benchmarks.datasets.generation import write_csv

    path = folder / "labelled.csv"
    rows = (
        (photos.names[n], photos.captions[n], f"class {len(photos.captions[n]) % 10}")
        for n in range(photos.size)
    )
    write_csv(path, ("file_name", "text", "label"), rows)
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
