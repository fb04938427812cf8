"""Pick a model by quality and cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A model that could be picked.

    Attributes:
        name: name of the model.
        quality: larger is better; for errors, the negative value.
        cost: smaller is better, for example FLOPs, seconds or parameters.
        tied: not significantly worse than the best (`statistics.ModelComparison.tied`).
    """

    name: str
    quality: float
    cost: float
    tied: bool = False

    def __post_init__(self) -> None:
        if math.isnan(self.quality) or math.isnan(self.cost):
            raise ValueError(f"quality and cost must be numbers; got {self}")


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no other dominates, cheapest first, with all equal candidates."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.cost, -c.quality)):
        last = front[-1] if front else None
        if last is None or candidate.quality > last.quality or _are_equal(candidate, last):
            front.append(candidate)
    return front


def _are_equal(a: Candidate, b: Candidate) -> bool:
    return (a.quality, a.cost) == (b.quality, b.cost)


def pick_best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the highest quality; of equals the cheapest, then the first."""
    if not candidates:
        raise ValueError("pick_best needs at least one candidate; got none")
    return min(candidates, key=lambda c: (-c.quality, c.cost))


def pick_cheapest_tied(candidates: Sequence[Candidate]) -> Candidate:
    """Return the cheapest of the best and the tied; of equals the better, then the first."""
    top = pick_best(candidates)
    return min((c for c in candidates if c.tied or c is top), key=lambda c: (c.cost, -c.quality))
