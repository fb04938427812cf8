"""What the machine gives to training: a device, and a precision that is measured to pay."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

CPU = torch.device("cpu")
FLOAT32, BFLOAT16 = "float32", "bfloat16"

LEAST_ROWS = 50_000
"""Training rows below which auto does not look for a faster precision: seconds are at stake, and a
measurement may come out otherwise the next time."""

_PAYS = 1.25
"""Speed-up from which bfloat16 is worth its rounding."""

_ROUNDS = 5
_STEPS = 4


@dataclass(frozen=True)
class Machine:
    """Where and in what precision a model is trained.

    Attributes:
        device: of the training; what is validated is validated on the CPU.
        precision: of the forward in training, float32 or bfloat16.
        speedup: measured speed of bfloat16 over that of float32; None where it was not measured.
    """

    device: torch.device = CPU
    precision: str = FLOAT32
    speedup: float | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What metrics.json says of it."""
        facts: dict[str, Any] = {"device": str(self.device), "precision": self.precision}
        return facts if self.speedup is None else {**facts, "bfloat16_speedup": self.speedup}

    def forward(self) -> torch.autocast:
        """The context of a forward in training."""
        wanted = self.precision == BFLOAT16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)


ONE_CORE = Machine()


def speedup_of_bfloat16(step: Callable[[str], object]) -> float:
    """How many times faster a step is in bfloat16; both measured in turn, the medians compared.

    Args:
        step: takes a step in the precision named, and waits for its end.
    """
    seconds: dict[str, list[float]] = {FLOAT32: [], BFLOAT16: []}
    for number in range(_ROUNDS + 1):
        for precision, times in seconds.items():
            began = time.perf_counter()
            for _ in range(_STEPS):
                step(precision)
            if number:  # the first round warms up
                times.append(time.perf_counter() - began)
    return statistics.median(seconds[FLOAT32]) / statistics.median(seconds[BFLOAT16])


def pays(speedup: float) -> bool:
    """Whether bfloat16 is faster by enough."""
    return speedup >= _PAYS
