"""Choose by quality and cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A system that could be taken.

    Attributes:
        name: the system.
        quality: larger is better; the negative of an error.
        cost: smaller is better: FLOPs, seconds, parameters, …
        tied: not significantly worse than the best (`bootstrap.Standing.tied`).
    """

    name: str
    quality: float
    cost: float
    tied: bool = False

    def __post_init__(self) -> None:
        if math.isnan(self.quality) or math.isnan(self.cost):
            raise ValueError(f"quality and cost must be numbers; got {self}")


def dominates(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is at least as good and as cheap, and more so in one of the two."""
    no_worse = one.quality >= other.quality and one.cost <= other.cost
    return no_worse and (one.quality > other.quality or one.cost < other.cost)


def pareto_front(rows: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other dominates, cheapest first; equals stay together in."""
    front: list[Candidate] = []
    for row in sorted(rows, key=lambda row: (row.cost, -row.quality)):
        last = front[-1] if front else None
        if last is None or row.quality > last.quality or _same(row, last):
            front.append(row)
    return front


def _same(one: Candidate, other: Candidate) -> bool:
    return (one.quality, one.cost) == (other.quality, other.cost)


def best(rows: Sequence[Candidate]) -> Candidate:
    """The candidate of the highest quality; of equals the cheapest, then the first."""
    if not rows:
        raise ValueError("there is no best of no candidates")
    return min(rows, key=lambda row: (-row.quality, row.cost))


def cheapest_tied(rows: Sequence[Candidate]) -> Candidate:
    """The cheapest of the best and those tied with it; of equals the better, then the first."""
    top = best(rows)
    return min(
        (row for row in rows if row.tied or row is top), key=lambda row: (row.cost, -row.quality)
    )
