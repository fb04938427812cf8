"""What this machine allows CLIP: decoding, tokenising and the bare forward, each part alone.

Each part gets all cores and inputs that are ready. The limit is what they take one after the other.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from benchmarks.clip_work import ARCHITECTURE, Work
from mmfeat.encoders import EncoderSpec, Precision, Settings

_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
_MANY = 512
"""Items that are decoded and tokenised at most."""
_CHUNK = 8
"""Items handed to a thread at a time."""
_IMAGE_BATCHES = (8, 16, 32, 64)
_TEXT_BATCHES = (32, 64, 128, 256)


@dataclass
class Limit:
    """What the parts take, each alone on all cores: seconds a sample."""

    decode: float = 0.0
    decode_full: float = 0.0
    tokenise: float = 0.0
    forward: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column → precision → seconds."""

    def seconds(self, precision: Mapping[str, str]) -> float:
        """Of a sample with all its columns; precision is column → precision."""
        forwards = sum(times[precision[column]] for column, times in self.forward.items())
        return self.decode + self.tokenise + forwards


def measure_limit(work: Work) -> Limit:
    """Time each part that the columns need."""
    import torch

    torch.set_num_threads(work.cores)
    limit = Limit()
    for column in work.columns:
        measure_part = _measure_images if column == "image" else _measure_texts
        measure_part(work, limit)
    return limit


def _measure_images(work: Work, limit: Limit) -> None:
    files = work.photos.read(min(work.photos.number, _MANY))
    reduced = _load(work, "image")
    limit.decode, arrays = _in_threads(work, reduced.decode, files)
    full = _load(work, "image", reduced_decoding=False)
    limit.decode_full, _ = _in_threads(work, full.decode, files)
    pixels = reduced.picture.batch(arrays[: work.number_of_few])
    limit.forward["image"] = {p: _forward_images(work, pixels, p) for p in _PRECISIONS}


def _measure_texts(work: Work, limit: Limit) -> None:
    texts = [text.encode() for text in work.photos.captions[:_MANY]]
    encoders = {precision: _load(work, "text", precision) for precision in _PRECISIONS}
    limit.tokenise, tokens = _in_threads(work, encoders["float32"].decode, texts)
    limit.forward["text"] = {p: _forward_texts(one, tokens) for p, one in encoders.items()}


def _load(
    work: Work, column: str, precision: Precision = "float32", *, reduced_decoding: bool = True
) -> Any:
    spec = EncoderSpec.parse(f"{column}={work.encoder}")
    settings = Settings("cpu", precision, reduced_decoding=reduced_decoding, threads=work.cores)
    return spec.load(settings)


def _in_threads(work: Work, function: Callable[[Any], Any], items: list) -> tuple[float, list]:
    """Seconds an item, best of three, and the results."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    times = []
    with ThreadPoolExecutor(work.cores) as pool:
        for _ in range(3):
            began = perf_counter()
            found = list(pool.map(lambda chunk: [function(item) for item in chunk], chunks))
            times.append(perf_counter() - began)
    return min(times) / len(items), [result for chunk in found for result in chunk]


def _forward_images(work: Work, pixels: Any, precision: str) -> float:
    """Seconds a picture of open_clip's own tower on tensors that are ready, best batch size."""
    import open_clip
    import torch

    model = open_clip.create_model(ARCHITECTURE, str(work.safetensors), weights_only=True)
    dtype = getattr(torch, precision)
    tower, pixels = model.visual.eval().to(dtype), pixels.to(dtype)
    times = []
    with torch.inference_mode():
        for size in {min(size, len(pixels)) for size in _IMAGE_BATCHES}:
            parts = [part for part in pixels.split(size) if len(part) == size]
            tower(parts[0])
            began = perf_counter()
            for part in parts:
                tower(part)
            times.append((perf_counter() - began) / (size * len(parts)))
    return min(times)


def _forward_texts(encoder: Any, tokens: list[list[int]]) -> float:
    """Seconds a text of the encoder on token ids that are ready, by length, best of two."""
    ids = sorted(tokens, key=len, reverse=True)
    encoder.encode(ids[:8])
    times = []
    for size in _TEXT_BATCHES * 2:
        began = perf_counter()
        for start in range(0, len(ids), size):
            encoder.encode(ids[start : start + size])
        times.append((perf_counter() - began) / len(ids))
    return min(times)
