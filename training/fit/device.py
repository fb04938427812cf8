"""Device and precision of training, and the measurement behind --precision auto."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

CPU = torch.device("cpu")
FLOAT32, BFLOAT16 = "float32", "bfloat16"

MIN_MEASURED_ROWS = 50_000
"""Number of training rows from which --precision auto measures. A smaller set trains in seconds,
and a measurement can differ between runs."""

_MIN_SPEEDUP = 1.25
"""Speed-up from which bfloat16 is worth its rounding."""

_ROUNDS = 5
_STEPS = 4


@dataclass(frozen=True)
class ComputeConfig:
    """Device and precision of training. Validation always runs in float32.

    Attributes:
        device: device of the training steps, and of the validation after each epoch.
        precision: precision of the forward pass in training, float32 or bfloat16.
        speedup: measured speed of bfloat16 divided by that of float32. None = not measured.
        graphs: whether steps run as CUDA graphs where they can. None = on a GPU.
    """

    device: torch.device = CPU
    precision: str = FLOAT32
    speedup: float | None = None
    graphs: bool | None = None

    @property
    def uses_graphs(self) -> bool:
        """Whether steps run as CUDA graphs where they can."""
        return self.device.type == "cuda" if self.graphs is None else self.graphs

    @property
    def metrics(self) -> dict[str, Any]:
        """Entries of metrics.json."""
        metrics: dict[str, Any] = {"device": str(self.device), "precision": self.precision}
        return metrics if self.speedup is None else {**metrics, "bfloat16_speedup": self.speedup}

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass in training."""
        enabled = self.precision == BFLOAT16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


CPU_FLOAT32 = ComputeConfig()


def cuda_devices(device: torch.device) -> list[torch.device]:
    """Return the devices with a random state of their own, for `torch.random.fork_rng`."""
    return [device] if device.type == "cuda" else []


def measure_speedup(step: Callable[[str], object]) -> float:
    """Return the speed of a step in bfloat16 divided by its speed in float32.

    The two precisions take turns; the result compares the medians.

    Args:
        step: takes one step in the given precision and waits for its end.
    """
    seconds: dict[str, list[float]] = {FLOAT32: [], BFLOAT16: []}
    for number in range(_ROUNDS + 1):
        for precision, times in seconds.items():
            start = time.perf_counter()
            for _ in range(_STEPS):
                step(precision)
            if number:  # the first round warms up
                times.append(time.perf_counter() - start)
    return statistics.median(seconds[FLOAT32]) / statistics.median(seconds[BFLOAT16])


def faster_precision(speedup: float) -> str:
    """Return the precision for a measured speed-up of bfloat16."""
    return BFLOAT16 if speedup >= _MIN_SPEEDUP else FLOAT32
