"""The work of a search, counted from shapes, so that the same input gets the same search."""

from dataclasses import dataclass
from typing import Literal

from mmfeat.models.architecture import Architecture

Quality = Literal["fast", "default", "best"]

_UNIT_ROWS, _UNIT_SECONDS, _GROWTH = 2000, 4.0, 0.6
"""A search of 2,000 rows may take 4 units of networks, one of n rows (n / 2,000)^0.6 times as many.
A unit is about a second of one core."""

_FLOPS, _STEP_SECONDS = 2.5e10, 1.2e-3
"""Operations of a unit, and units of a step beside its operations."""

_FACTORS = {"fast": 0.4, "default": 1.0, "best": 6.0}


@dataclass
class Budget:
    """Units of work that networks may still take.

    Attributes:
        left: units.
    """

    left: float

    @classmethod
    def of(cls, rows: int, quality: Quality) -> "Budget":
        """Return the budget of a search of so many training and validation rows."""
        growth = max(1.0, rows / _UNIT_ROWS) ** _GROWTH
        return cls(_UNIT_SECONDS * growth * _FACTORS[quality])

    def take(self, units: float) -> bool:
        """Take units if there are as many; return whether there were."""
        if units > self.left:
            return False
        self.left -= units
        return True


def training_work(architecture: Architecture, rows: int, steps: int) -> float:
    """Return the units of training on rows in steps: 6 operations per weight and row.

    Args:
        architecture: the layers, with the lengths of the features after conditioning.
        rows: number of rows, counted once per epoch.
        steps: number of steps.
    """
    a = architecture
    columns = len(a.dims)
    weights = sum(a.dims.values()) * a.hidden + (columns + 1) * a.hidden**2 + a.hidden * a.outputs
    return 6 * weights * rows / _FLOPS + steps * _STEP_SECONDS
