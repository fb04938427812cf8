"""Successive halving: train several recipes for a few epochs, and only the best one to its end.

Karnin, Koren and Somekh 2013, Almost Optimal Exploration in Multi-Armed Bandits; Jamieson and
Talwalkar 2016, arXiv:1502.07943, use it for hyperparameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

from training.fit.fit_result import FitResult
from training.fit.loop import Training

FIRST_RUNG = 5
"""Epochs after which the worse half of the recipes is dropped for the first time. The next halves
are dropped after twice as many epochs each."""


def fit_by_halving(
    trainings: Sequence[Training],
    first_rung: int = FIRST_RUNG,
    on_rung: Callable[[Sequence[FitResult]], Any] = lambda results: None,
) -> list[FitResult]:
    """Train the best of several trainings to its end.

    After each rung, the trainings whose best epoch so far is worse on validation are dropped, half
    of them, rounded down. The last one trains as it would have trained alone.

    Args:
        trainings: trainings that differ in their recipe; at least one.
        first_rung: see `FIRST_RUNG`.
        on_rung: called with the results so far after each rung.

    Returns:
        The result of each training, in order. Those of dropped trainings have fewer epochs.
    """
    results: dict[int, FitResult] = {}
    kept, rung = list(range(len(trainings))), first_rung
    while len(kept) > 1:
        results |= {number: trainings[number].run(rung) for number in kept}
        on_rung([results[number] for number in sorted(results)])
        # A stable sort: of equal results, the first one stays.
        kept.sort(key=lambda number: results[number].sort_key, reverse=True)
        kept = sorted(kept[: -(-len(kept) // 2)])
        rung *= 2
    results[kept[0]] = trainings[kept[0]].run()
    return [results[number] for number in range(len(trainings))]
