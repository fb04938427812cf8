"""Time `mmfeat extract` with CLIP on a GPU, compared with the limits of that GPU.

It makes its photographs, shards and checkpoints itself and needs no network.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.datasets.photos import PhotoDataset
from benchmarks.gpu.limits import measure_cpu_decoding, measure_forward, measure_gpu_decoding
from benchmarks.gpu.workspace import MODELS, GpuWorkspace
from benchmarks.harness.encoding_run import cosine_similarities, read_vectors
from benchmarks.harness.run import count_cores, work_folder
from mmfeat.config import parse_args
from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.system import print_err, show_table

_SUBSET = 512
"""The first records, whose features are compared with those of float32 decoded on the CPU."""


@dataclass
class Options:
    """Time `mmfeat extract` with CLIP ViT-B/32 and L/14 on a GPU, and the limits of that GPU.

    The last line of the output is one JSON object.
    """

    pictures: int = 2500
    """Number of different images of 640 x 480 pixels."""
    records: int = 15_000
    """Number of records; images repeat."""
    per_shard: int = 2500
    """Records per shard."""
    folder: str = ""
    """Folder to keep and reuse images, shards and weights; default: a temporary folder."""
    seed: int = 0
    """Seed of images and weights."""

    def __post_init__(self) -> None:
        if self.pictures < 2 or self.records < 2 * self.per_shard:
            sys.exit("extract_gpu: --pictures must be at least 2, --records two shards")


@dataclass
class Figures:
    """Measurements of one model."""

    whole_s: float
    """Wall time of the command."""
    per_s: float
    """Images per second after the first shard."""
    settled: dict[str, str | int]
    """Precision and batch size that mmfeat chose."""
    forward: dict[int, float]
    """Batch size → images per second of the forward alone."""
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Cosine of each feature to that of float32."""
    spread: float = 0.0
    """Mean of 1 - cosine between different images."""

    @property
    def best_forward(self) -> float:
        """The forward alone, with the better batch size."""
        return max(self.forward.values())


def main(arguments: Sequence[str]) -> None:
    """Prepare the inputs, run both models, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.extract_gpu")
    import torch

    if not torch.cuda.is_available():
        sys.exit("extract_gpu: this machine has no GPU that torch can use")
    with work_folder(options.folder) as folder:
        photos = PhotoDataset(folder, options.pictures, options.seed)
        workspace = GpuWorkspace(folder, photos, options.per_shard)
        print_err(f"extract_gpu: make {options.pictures:,} images and two checkpoints in {folder}")
        workspace.prepare()
        files = photos.read_files(min(options.pictures, 1024))
        shards, subset = workspace.shard(options.records), workspace.shard(_SUBSET)
        figures = {name: _measure_model(workspace, name, shards, subset) for name in MODELS}
        print_err("extract_gpu: decoding alone")
        decoding = measure_gpu_decoding(files)
        spec = EncoderSpec.parse(f"image=hf:{workspace.model('B/32')}")
        settings = Settings("cpu", "float32", reduced_decoding=True, threads=1)
        decoding["cpu"] = measure_cpu_decoding(spec.load(settings).decode, files)
    _show(options, figures, decoding, torch.cuda.get_device_name())
    print(json.dumps(_to_json(options, figures, decoding)))


def _measure_model(workspace: GpuWorkspace, name: str, shards: Path, subset: Path) -> Figures:
    print_err(f"extract_gpu: {name}: the whole command")
    output, usage = workspace.extract(shards, name, f"{name[0]}-features")
    print_err(f"extract_gpu: {name}: the forward alone, and features in float32")
    flags = ("--precision=float32", "--decode=cpu")
    exact, _ = workspace.extract(subset, name, f"{name[0]}-exact", *flags)
    vectors = read_vectors(exact, "image")
    return Figures(
        usage.seconds,
        _rate_after_first_shard(output),
        _read_settled(output),
        measure_forward(workspace.model(name)),
        cosine_similarities(vectors, read_vectors(output, "image")),
        _mean_distance(np.stack(list(vectors.values()))),
    )


def _rate_after_first_shard(store: Path) -> float:
    """Return the images per second between the first and the last receipt of a column."""
    receipts = [*(store / "columns" / "image").glob("*_stats.json")]
    receipts.sort(key=lambda path: path.stat().st_mtime)
    records = sum(json.loads(path.read_text())["records"] for path in receipts[1:])
    return float(records / (receipts[-1].stat().st_mtime - receipts[0].stat().st_mtime))


def _read_settled(store: Path) -> dict[str, str | int]:
    settled = json.loads((store / "columns" / "image" / "column.json").read_text())["settled"]
    return {name: settled[name] for name in ("precision", "batch_size")}


def _mean_distance(vectors: np.ndarray) -> float:
    """Return the mean of 1 - cosine over all pairs of different rows. Shape (rows, dim)."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = len(unit)
    cosines = (unit @ unit.T).sum() - rows
    return float(1 - cosines / (rows * (rows - 1)))


def _show(
    options: Options, figures: dict[str, Figures], decoding: dict[str, float], gpu: str
) -> None:
    rows: list[list[str]] = []
    for name, model in figures.items():
        chosen = f"{model.settled['precision']}, batch {model.settled['batch_size']}"
        whole = options.records / model.whole_s
        rows += [
            [f"{name}: mmfeat extract, after the first shard", chosen, f"{model.per_s:,.0f}", ""],
            [f"{name}: the whole command", chosen, f"{whole:,.0f}", f"{model.whole_s:.1f}"],
        ]
        for size, rate in model.forward.items():
            rows.append([f"{name}: forward alone", f"bfloat16, batch {size}", f"{rate:,.0f}", ""])
        loss = 1 - model.cosines
        quality = f"mean {loss.mean() / model.spread:.2%}, max {loss.max() / model.spread:.2%}"
        rows.append([f"{name}: 1 - cosine to float32, of that between images", quality, "", ""])
    titles = {
        "nvjpeg": "nvJPEG alone",
        "nvjpeg_resized": "nvJPEG and resizing, one after the other",
        "cpu": "decoding on the CPU, one thread per core",
    }
    rows += [[title, "", f"{decoding[n]:,.0f}", ""] for n, title in titles.items() if n in decoding]
    title = f"{options.records:,} images of 640 x 480, {gpu}, {count_cores()} cores"
    show_table(title, ["", "", "images/s", "s"], rows)


def _to_json(
    options: Options, figures: dict[str, Figures], decoding: dict[str, float]
) -> dict[str, float | int]:
    small, large = figures["B/32"], figures["L/14"]
    limit = min(small.best_forward, decoding.get("nvjpeg_resized", small.best_forward))
    cosines = np.concatenate([model.cosines for model in figures.values()])
    values = {
        "records": options.records,
        "b32_per_s": round(small.per_s),
        "l14_per_s": round(large.per_s),
        "b32_forward_per_s": round(small.best_forward),
        "l14_forward_per_s": round(large.best_forward),
        "l14_vs_forward": round(large.per_s / large.best_forward, 3),
        "b32_vs_limit": round(small.per_s / limit, 3),
        "whole_run_s": round(small.whole_s, 2),
        "l14_whole_run_s": round(large.whole_s, 2),
        "cosine_mean": round(float(cosines.mean()), 6),
        "cosine_min": round(float(cosines.min()), 6),
    }
    for name, model in figures.items():
        key = name.replace("/", "").lower()
        loss = (1 - model.cosines) / model.spread
        values[f"{key}_loss_mean"] = round(float(loss.mean()), 5)
        values[f"{key}_loss_max"] = round(float(loss.max()), 5)
    return values | {f"{name}_per_s": round(rate) for name, rate in decoding.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
