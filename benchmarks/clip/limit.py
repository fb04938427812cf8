"""The limit of this machine for CLIP: decoding, tokenizing and the forward, each alone.

Each part gets all cores and inputs that are ready in memory. The limit is the sum of their times.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.clip.workspace import ARCHITECTURE, Workspace
from mmfeat.encoders import EncoderSpec, Precision, Settings

_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
_MAX_ITEMS = 512
"""Items to decode and tokenize at most."""
_CHUNK_SIZE = 8
"""Items that a thread takes at a time."""
_IMAGE_BATCH_SIZES = (8, 16, 32, 64)
_TEXT_BATCH_SIZES = (32, 64, 128, 256)


@dataclass
class Limit:
    """Seconds per sample of each part, alone on all cores."""

    decode: float = 0.0
    decode_full: float = 0.0
    tokenize: float = 0.0
    forward: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column → precision → seconds."""

    def seconds(self, precision: Mapping[str, str]) -> float:
        """Return the seconds per sample with all columns; precision is column → precision."""
        forwards = sum(times[precision[column]] for column, times in self.forward.items())
        return self.decode + self.tokenize + forwards


def measure_limit(workspace: Workspace) -> Limit:
    """Time each part that the columns need."""
    import torch

    torch.set_num_threads(workspace.cores)
    limit = Limit()
    for column in workspace.columns:
        measure_column = _measure_images if column == "image" else _measure_texts
        measure_column(workspace, limit)
    return limit


def _measure_images(workspace: Workspace, limit: Limit) -> None:
    files = workspace.photos.read_files(min(workspace.photos.size, _MAX_ITEMS))
    reduced = _load_encoder(workspace, "image")
    limit.decode, arrays = _time_in_threads(workspace, reduced.decode, files)
    full = _load_encoder(workspace, "image", reduced_decoding=False)
    limit.decode_full, _ = _time_in_threads(workspace, full.decode, files)
    pixels = reduced.transform.to_tensor(arrays[: workspace.subset_size])
    limit.forward["image"] = {p: _time_image_forward(workspace, pixels, p) for p in _PRECISIONS}


def _measure_texts(workspace: Workspace, limit: Limit) -> None:
    texts = [text.encode() for text in workspace.photos.captions[:_MAX_ITEMS]]
    encoders = {p: _load_encoder(workspace, "text", p) for p in _PRECISIONS}
    limit.tokenize, tokens = _time_in_threads(workspace, encoders["float32"].decode, texts)
    limit.forward["text"] = {
        p: _time_text_forward(workspace, e, tokens) for p, e in encoders.items()
    }


def _load_encoder(
    workspace: Workspace,
    column: str,
    precision: Precision = "float32",
    *,
    reduced_decoding: bool = True,
) -> Any:
    spec = EncoderSpec.parse(f"{column}={workspace.encoder}")
    settings = Settings(
        "cpu", precision, reduced_decoding=reduced_decoding, threads=workspace.cores
    )
    return spec.load(settings)


def _time_in_threads(
    workspace: Workspace, function: Callable[[Any], Any], items: list
) -> tuple[float, list]:
    """Return the seconds per item, best of three, and the results."""
    chunks = [items[start : start + _CHUNK_SIZE] for start in range(0, len(items), _CHUNK_SIZE)]
    times = []
    with ThreadPoolExecutor(workspace.cores) as pool:
        for _ in range(3):
            started = perf_counter()
            results = list(pool.map(lambda chunk: [function(item) for item in chunk], chunks))
            times.append(perf_counter() - started)
    return min(times) / len(items), [result for chunk in results for result in chunk]


def _time_image_forward(workspace: Workspace, pixels: Any, precision: str) -> float:
    """Return the seconds per image of the tower of open_clip, with the best batch size."""
    import open_clip
    import torch

    model = open_clip.create_model(ARCHITECTURE, str(workspace.safetensors), weights_only=True)
    dtype = getattr(torch, precision)
    tower, pixels = model.visual.eval().requires_grad_(False).to(dtype), pixels.to(dtype)
    times = []
    for size in {min(size, len(pixels)) for size in _IMAGE_BATCH_SIZES}:
        batches = [batch for batch in pixels.split(size) if len(batch) == size]
        times.append(_time_batches(workspace, tower, batches) / (size * len(batches)))
    return min(times)


def _time_text_forward(workspace: Workspace, encoder: Any, tokens: list[list[int]]) -> float:
    """Return the seconds per text of the encoder, sorted by length, with the best batch size."""
    ids = sorted(tokens, key=len, reverse=True)
    times = []
    for size in _TEXT_BATCH_SIZES:
        batches = [ids[start : start + size] for start in range(0, len(ids), size)]
        times.append(_time_batches(workspace, encoder.encode, batches) / len(ids))
    return min(times)


def _time_batches(
    workspace: Workspace, forward: Callable[[Any], Any], batches: Sequence[Any]
) -> float:
    """Return the seconds of all batches: one after the other on all cores, or one on each core."""
    import torch

    times = []
    for at_once in {1, workspace.cores}:
        threads_each = workspace.cores // at_once
        prepare = partial(torch.set_num_threads, threads_each)
        with ThreadPoolExecutor(at_once, initializer=prepare) as pool:
            list(pool.map(forward, batches[:at_once]))
            for _ in range(2):
                started = perf_counter()
                list(pool.map(forward, batches))
                times.append(perf_counter() - started)
    return min(times)
