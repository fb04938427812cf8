"""Time `mmfeat extract` with CLIP on a GPU, compared with the limits of that GPU.

It makes its photographs, shards and checkpoints itself and needs no network.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.datasets.photos import PhotoDataset
from benchmarks.gpu.figures import Figures, ModelFigures
from benchmarks.gpu.limits import measure_cpu_decoding, measure_forward, measure_gpu_decoding
from benchmarks.gpu.workspace import MODELS, GpuWorkspace
from benchmarks.harness.encoding_run import cosine_similarities, read_vectors
from benchmarks.harness.run import count_cores, work_folder
from mmfeat.config import RepeatedFlag, parse_args
from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.system import print_err

_SUBSET = 512
"""The first records, whose features are compared with those of float32 decoded on the CPU."""

_PARTS = ("compiled", "cpu-decode")
"""Parts that may be skipped."""

_PART_SHARDS = 3
"""Shards of a run of such a part: its speed counts from the second one on."""


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
    skip: RepeatedFlag = ()
    """Part to skip: compiled (runs with --compile=on) or cpu-decode (a run with --decode=cpu)."""
    device: Literal["cuda", "cpu"] = "cuda"
    """cpu checks the benchmark itself on a machine without a GPU."""
    tiny: bool = False
    """Use models of a few thousand weights, likewise."""
    folder: str = ""
    """Folder to keep and reuse images, shards and weights; default: a temporary folder."""
    seed: int = 0
    """Seed of images and weights."""

    def __post_init__(self) -> None:
        if self.pictures < 2 or self.records < 2 * self.per_shard:
            sys.exit("extract_gpu: --pictures must be at least 2, --records two shards")
        if unknown := set(self.skip) - set(_PARTS):
            sys.exit(f"extract_gpu: --skip takes {' and '.join(_PARTS)}; got {min(unknown)}")


def main(arguments: Sequence[str]) -> None:
    """Prepare the inputs, run both models, print the table and the JSON object."""
    options = parse_args(Options, arguments, prog="python -m benchmarks.extract_gpu")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("extract_gpu: this machine has no GPU that torch can use")
    with work_folder(options.folder) as folder:
        photos = PhotoDataset(folder, options.pictures, options.seed)
        workspace = GpuWorkspace(folder, photos, options.per_shard, options.device, options.tiny)
        print_err(f"extract_gpu: make {options.pictures:,} images and two checkpoints in {folder}")
        workspace.prepare()
        files = photos.read_files(min(options.pictures, 1024))
        models = {name: _measure_model(workspace, options, name) for name in MODELS}
        print_err("extract_gpu: decoding alone")
        decoding = measure_gpu_decoding(files, options.device)
        spec = EncoderSpec.parse(f"image=hf:{workspace.model('B/32')}")
        settings = Settings("cpu", "float32", reduced_decoding=True, threads=1)
        decoding["cpu"] = measure_cpu_decoding(spec.load(settings).decode, files)
    figures = Figures(options.records, models, decoding)
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU"
    title = f"{options.records:,} images of 640 x 480, {gpu}, {count_cores()} cores"
    figures.show(title + (", tiny models" if options.tiny else ""))
    print(json.dumps(figures.to_json()))


def _measure_model(workspace: GpuWorkspace, options: Options, name: str) -> ModelFigures:
    shards, subset = (
        workspace.shard(options.records),
        workspace.shard(min(_SUBSET, options.records)),
    )
    print_err(f"extract_gpu: {name}: the whole command")
    output, usage = workspace.extract(shards, name, f"{name[0]}-features")
    print_err(f"extract_gpu: {name}: the forward alone, and features in float32")
    exact, _ = workspace.extract(
        subset, name, f"{name[0]}-exact", "--precision=float32", "--decode=cpu", "--compile=off"
    )
    vectors = read_vectors(exact, "image")
    figures = ModelFigures(
        usage.seconds,
        _rate_after_first_shard(output),
        _read_settled(output),
        measure_forward(workspace.model(name), options.device),
        cosines=cosine_similarities(vectors, read_vectors(output, "image")),
        spread=_mean_distance(np.stack(list(vectors.values()))),
    )
    part = workspace.shard(min(options.records, _PART_SHARDS * options.per_shard))
    if "compiled" not in options.skip:
        print_err(f"extract_gpu: {name}: --compile=on")
        output, _ = workspace.extract(part, name, f"{name[0]}-compiled", "--compile=on")
        if _read_settled(output)["compile"]:
            figures.compiled_per_s = _rate_after_first_shard(output)
    if "cpu-decode" not in options.skip and name == "B/32":
        print_err(f"extract_gpu: {name}: --decode=cpu")
        output, _ = workspace.extract(part, name, f"{name[0]}-cpu", "--decode=cpu")
        figures.cpu_decode_per_s = _rate_after_first_shard(output)
    return figures


def _rate_after_first_shard(store: Path) -> float:
    """Return the images per second between the first and the last receipt of a column."""
    receipts = [*(store / "columns" / "image").glob("*_stats.json")]
    receipts.sort(key=lambda path: path.stat().st_mtime)
    records = sum(json.loads(path.read_text())["records"] for path in receipts[1:])
    return float(records / (receipts[-1].stat().st_mtime - receipts[0].stat().st_mtime))


def _read_settled(store: Path) -> dict[str, Any]:
    settled = json.loads((store / "columns" / "image" / "column.json").read_text())["settled"]
    return {name: settled[name] for name in ("precision", "batch_size", "decode", "compile")}


def _mean_distance(vectors: np.ndarray) -> float:
    """Return the mean of 1 - cosine over all pairs of different rows. Shape (rows, dim)."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = len(unit)
    cosines = (unit @ unit.T).sum() - rows
    return float(1 - cosines / (rows * (rows - 1)))


if __name__ == "__main__":
    main(sys.argv[1:])
