"""Settings of linear and kernel candidates, chosen on few rows, so that many settings are cheap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.linear import Scaling, squared_distances
from training.data import TRAIN, Dataset
from training.search.folds import Folds
from training.search.linear.inputs import read_inputs
from training.search.linear.kernel import GAMMAS, fit_kernel

_MAX_ROWS = 600
"""Maximum number of rows. The work grows with their cube."""

_Scalings = Mapping[str, Mapping[str, Scaling]]


@dataclass(frozen=True)
class ChoiceRows:
    """Rows with known labels, evenly spaced, of the rows of a search.

    Attributes:
        dataset: the dataset.
        rows: int64, row numbers.
        y: targets of least squares, float64, shape [rows, outputs].
        parts: int64 positions of the rows of each block that is predicted by a model of all other
            rows: each fold; or the validation rows, if the search has no folds.
    """

    dataset: Dataset
    rows: np.ndarray
    y: Tensor
    parts: list[Tensor]

    def error(self, kernel: Tensor, penalty: float) -> float:
        """Return the mean squared error of the blocks for a kernel matrix, float64."""
        predictions = fit_kernel(kernel, self.y, penalty, self.parts).left_out
        errors = [(predictions[part] - self.y[part]).square() for part in self.parts]
        return float(torch.cat(errors).mean())

    def choose_scaling(self, scalings: _Scalings, penalties: Sequence[float]) -> str:
        """Return the name of the scaling with the least error of ridge regression.

        Args:
            scalings: name → scaling of each column; at least one.
            penalties: values of C to try.
        """
        if len(scalings) == 1:
            return next(iter(scalings))
        errors: dict[Any, float] = {}
        for name, scaling in scalings.items():
            columns = read_inputs(self.dataset, self.rows, scaling)
            x = torch.cat([x for x, _ in columns], dim=1)
            x = x - x.mean(dim=0)
            kernel = (x @ x.T).double() + 1
            errors[name] = min(self.error(kernel, 1 / penalty) for penalty in penalties)
        return min(errors, key=lambda name: errors[name])

    def choose_kernel(
        self, scaling: Mapping[str, Scaling], penalties: Sequence[float]
    ) -> tuple[float, float]:
        """Return γ and the penalty with the least error of kernel ridge regression.

        Args:
            scaling: scaling of each column.
            penalties: penalties to try.
        """
        inputs = read_inputs(self.dataset, self.rows, scaling)
        distances = squared_distances(inputs, inputs).double()
        errors: dict[Any, float] = {}
        for gamma in GAMMAS:
            kernel = torch.exp(-gamma * distances).add_(1)
            errors |= {(gamma, penalty): self.error(kernel, penalty) for penalty in penalties}
        return min(errors, key=lambda setting: errors[setting])


def sample_choice_rows(folds: Folds, dataset: Dataset) -> ChoiceRows | None:
    """Return rows that choose settings; None if there are no two blocks with known labels.

    Args:
        folds: the rows of the search.
        dataset: the same rows with some of the columns.
    """
    numbers = np.empty(len(folds.rows), np.int64)
    for number, part in enumerate(folds.parts):
        numbers[part] = number
    rows = folds.rows
    if not folds.is_crossed:
        training = _spread(dataset.split_rows[TRAIN], _MAX_ROWS // 2)
        rows = np.concatenate([training, _spread(folds.rows, _MAX_ROWS // 2)])
        numbers = np.repeat([-1, 0], [len(training), len(rows) - len(training)])
    known = dataset.objective.has_known_label(dataset.targets[rows])
    kept = _spread(np.flatnonzero(known), _MAX_ROWS)
    rows, numbers = rows[kept], numbers[kept]
    if len(np.unique(numbers)) < 2:
        return None
    targets = torch.from_numpy(dataset.targets[rows])
    y = dataset.objective.least_squares_targets(targets).double()
    parts = [torch.from_numpy(np.flatnonzero(numbers == n)) for n in np.unique(numbers) if n >= 0]
    return ChoiceRows(dataset, rows, y, parts)


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Return evenly spaced rows."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]
