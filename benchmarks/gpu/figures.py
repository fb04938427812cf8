"""The figures of the GPU benchmark, as a table and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.gpu.limits import ForwardRates
from mmfeat.system import show_table

_TITLES = {
    "nvjpeg": "JPEG decoding alone on the device",
    "nvjpeg_resized": "JPEG decoding and resizing there, one after the other",
    "cpu": "decoding on the CPU, one process per core",
}


@dataclass
class ModelFigures:
    """Measurements of one model."""

    whole_s: float
    """Wall time of the command."""
    per_s: float
    """Images per second after the first shard."""
    settled: Mapping[str, Any]
    """Precision, batch size, decoder and compilation that mmfeat chose."""
    forward: ForwardRates
    compiled_per_s: float | None = None
    """Images per second after the first shard with `--compile=on`; None if it was not compiled."""
    cpu_decode_per_s: float | None = None
    """Images per second after the first shard with `--decode=cpu`; None if not measured."""
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Cosine of each feature to that of float32."""
    spread: float = 0.0
    """Mean of 1 - cosine between different images."""


@dataclass
class Figures:
    """All measurements."""

    records: int
    models: Mapping[str, ModelFigures]
    """`B/32` and `L/14`."""
    decoding: Mapping[str, float]
    """Images per second of decoding alone: `nvjpeg` and `nvjpeg_resized`, if there is a decoder for
    the device, and `cpu`."""

    def show(self, title: str) -> None:
        """Print the table."""
        rows: list[list[str]] = []
        for name, model in self.models.items():
            chosen = ", ".join(f"{key} {value}" for key, value in model.settled.items())
            whole = self.records / model.whole_s
            rows += [
                [f"{name}: mmfeat extract, after the first shard", chosen, _rate(model.per_s), ""],
                [f"{name}: the whole command", "", _rate(whole), f"{model.whole_s:.1f}"],
                [f"{name}: --compile=on", "", _rate(model.compiled_per_s), ""],
            ]
            if model.cpu_decode_per_s:
                rows.append([f"{name}: --decode=cpu", "", _rate(model.cpu_decode_per_s), ""])
            for size, rate in model.forward.eager.items():
                rows.append([f"{name}: forward alone", f"bfloat16, batch {size}", _rate(rate), ""])
            title_ = f"{name}: forward alone, compiled"
            compile_s = f"{model.forward.compile_s:.1f}"
            rows.append([title_, "", _rate(model.forward.compiled), compile_s])
            loss = 1 - model.cosines
            quality = f"mean {loss.mean() / model.spread:.2%}, max {loss.max() / model.spread:.2%}"
            rows.append([f"{name}: 1 - cosine to float32, of that between images", quality, "", ""])
        for key, text in _TITLES.items():
            rows.append([text, "", _rate(self.decoding.get(key)), ""])
        show_table(title, ["", "", "images/s", "s"], rows)

    def to_json(self) -> dict[str, float | int | bool | str | None]:
        """Return the values of the JSON object."""
        small, large = self.models["B/32"], self.models["L/14"]
        limit = min(small.forward.best, self.decoding.get("nvjpeg_resized", small.forward.best))
        cpu_limit = min(small.forward.best, self.decoding["cpu"])
        cosines = np.concatenate([model.cosines for model in self.models.values()])
        values: dict[str, float | int | bool | str | None] = {
            "records": self.records,
            "b32_vs_limit": round(small.per_s / limit, 3),
            "l14_vs_forward": round(large.per_s / large.forward.best, 3),
            "l14_compiled_vs_forward": _ratio(large.compiled_per_s, large.forward.compiled),
            "cpu_decode_vs_limit": _ratio(small.cpu_decode_per_s, cpu_limit),
            "whole_run_s": round(small.whole_s, 2),
            "l14_whole_run_s": round(large.whole_s, 2),
            "cosine_mean": round(float(cosines.mean()), 6),
            "cosine_min": round(float(cosines.min()), 6),
        }
        for name, model in self.models.items():
            key = name.replace("/", "").lower()
            loss = (1 - model.cosines) / model.spread
            values |= {
                f"{key}_per_s": round(model.per_s),
                f"{key}_compiled_per_s": _round(model.compiled_per_s),
                f"{key}_cpu_decode_per_s": _round(model.cpu_decode_per_s),
                f"{key}_forward_per_s": round(model.forward.best),
                f"{key}_forward_compiled_per_s": _round(model.forward.compiled),
                f"{key}_compile_s": round(model.forward.compile_s, 1),
                f"{key}_loss_mean": round(float(loss.mean()), 5),
                f"{key}_loss_max": round(float(loss.max()), 5),
                **{f"{key}_{setting}": value for setting, value in model.settled.items()},
            }
        return values | {f"{key}_per_s": _round(self.decoding.get(key)) for key in _TITLES}


def _rate(value: float | None) -> str:
    return f"{value:,.0f}" if value else "–"


def _round(value: float | None) -> int | None:
    return round(value) if value else None


def _ratio(value: float | None, limit: float | None) -> float | None:
    return round(value / limit, 3) if value and limit else None
