"""The linear candidates: logistic and ridge regression of some columns."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.architecture import LOGISTIC, RIDGE, Architecture
from mmfeat.models.base import Model
from mmfeat.models.linear import LinearModel, Scaling
from mmfeat.models.saved_model import input_shapes
from training.data import TRAIN, Dataset
from training.fit.linear import fit_logistic, set_scaling
from training.recipe import LogisticRecipe
from training.search.candidate import Candidate, Judge
from training.search.folds import Folds
from training.search.linear.choice import sample_choice_rows
from training.search.linear.inputs import (
    PART_ROWS,
    PLAIN,
    WEIGHTED,
    find_scalings,
    read_inputs,
    sample_rows,
)
from training.search.linear.kernel_candidate import fit_kernel_candidate
from training.search.linear.problem import (
    LinearProblem,
    RidgePath,
    Solution,
    fit_logistic_path,
)

_REFINING_EPOCHS = 2
"""Epochs of the final fit on all rows, from the solution of some."""

Solve: TypeAlias = Callable[[], Solution]
"""Returns weights, shape [k, outputs], and biases, shape [outputs]."""


@dataclass(frozen=True)
class LinearStage:
    """Fits linear models for each scaling and penalty, on the folds of a search.

    Attributes:
        folds: the rows.
        judge: judges predictions.
        recipe: settings of logistic regression; its C is not used.
        logistic_penalties: values of C, ascending; empty = no logistic regression.
        ridge_penalties: values of C.
        kernel_penalties: penalties of kernel ridge regression, on few rows; empty = none.
        scalings: the scalings to try.
    """

    folds: Folds
    judge: Judge
    recipe: LogisticRecipe
    logistic_penalties: Sequence[float]
    ridge_penalties: Sequence[float]
    kernel_penalties: Sequence[float]
    scalings: Sequence[str]

    def fit(self, columns: Sequence[str]) -> list[Candidate]:
        """Return a candidate of each kind of model, at its best scaling and C."""
        dataset = self.folds.whole.select_columns(columns)
        choice = sample_choice_rows(self.folds, dataset)
        scalings = self._select_scalings(columns)
        name = next(iter(scalings))
        if choice:
            name = choice.choose_scaling(scalings, self.ridge_penalties)
        start = time.perf_counter()
        fit = _ScaledFit(self, dataset, name, scalings[name])
        found = [replace(self._best_ridge(fit), seconds=time.perf_counter() - start)]
        if self.logistic_penalties:
            start = time.perf_counter()
            winner = max(fit.logistic(), key=lambda candidate: candidate.judgement.key)
            found.append(replace(winner, seconds=time.perf_counter() - start))
        if choice and self.kernel_penalties:
            found += fit_kernel_candidate(
                self.folds, self.judge, choice, name, scalings[name], self.kernel_penalties
            )
        return found

    @cached_property
    def _scalings(self) -> dict[str, dict[str, Scaling]]:
        return find_scalings(self.folds.whole)

    def _select_scalings(self, columns: Sequence[str]) -> dict[str, dict[str, Scaling]]:
        """Return the scalings to try of some columns; equal ones once."""
        every = {
            name: {column: values[column] for column in columns}
            for name, values in self._scalings.items()
        }
        plain, weighted = every[PLAIN], every[WEIGHTED]
        if all(
            torch.equal(a, b) for n in plain for a, b in zip(plain[n], weighted[n], strict=True)
        ):
            return {PLAIN: plain}
        return {name: every[name] for name in self.scalings}

    def _best_ridge(self, fit: "_ScaledFit") -> Candidate:
        """Return ridge regression at the best C: of every second one, then of its neighbours."""
        penalties = list(self.ridge_penalties)
        tried = dict(zip(penalties[::2], fit.ridge(penalties[::2]), strict=True))
        best = max(tried, key=lambda penalty: tried[penalty].judgement.key)
        position = penalties.index(best)
        others = [penalties[n] for n in (position - 1, position + 1) if 0 <= n < len(penalties)]
        tried |= dict(zip(others, fit.ridge(others), strict=True))
        return max(tried.values(), key=lambda candidate: candidate.judgement.key)


class _ScaledFit:
    """Linear models of some columns in one scaling."""

    def __init__(
        self, stage: LinearStage, dataset: Dataset, name: str, scaling: Mapping[str, Scaling]
    ) -> None:
        self.stage, self.dataset, self.name, self.scaling = stage, dataset, name, scaling
        objective = dataset.objective
        self.outputs = objective.task.outputs
        self.training = sample_rows(dataset) if not stage.folds.is_crossed else stage.folds.rows
        self.problem = LinearProblem.prepare(read_inputs(dataset, self.training, scaling))
        targets = dataset.targets[self.training]
        self.is_known = torch.from_numpy(objective.has_known_label(targets))
        self.targets = torch.from_numpy(targets)
        # Rows of unknown labels are predicted, and no model is fitted to them.
        self.squares_targets = objective.least_squares_targets(self.targets[self.is_known])
        self.loss = objective.build_loss(stage.recipe)

    def logistic(self) -> Iterator[Candidate]:
        """Yield a candidate for each C."""
        penalties = self.stage.logistic_penalties
        x, folds = self.problem.x, self.stage.folds
        if folds.is_crossed:
            fitted = []
            for part in folds.parts:
                mask = self.is_known.clone()
                mask[part] = False
                fitted.append(mask.nonzero()[:, 0])
            path = self._path(fitted, penalties)
            for number, (weights, bias) in enumerate(path):
                logits = torch.empty(len(folds.rows), self.outputs)
                for fold, part in enumerate(folds.parts):
                    logits[part] = x[part] @ weights[:, fold] + bias[fold]
                # The final model is fitted only if it is chosen.
                solve = partial(self._solve_logistic, penalties[: number + 1])
                yield self._candidate(LOGISTIC, penalties[number], logits.numpy(), solve)
            return
        solutions = [(w[:, 0], b[0]) for w, b in self._path([self._known_rows], penalties)]
        predictions = self._predict(solutions)
        for penalty, solution, values in zip(penalties, solutions, predictions, strict=True):
            yield self._candidate(LOGISTIC, penalty, values, partial(_same, solution))

    def _predict(self, solutions: Sequence[Solution]) -> list[np.ndarray]:
        """Return the logits of the rows that choose for each solution. Inputs are read in parts."""
        rows = self.stage.folds.rows
        parts = []
        for start in range(0, len(rows), PART_ROWS):
            part = read_inputs(self.dataset, rows[start : start + PART_ROWS], self.scaling)
            inputs = self.problem.transform(part)
            parts.append([(inputs @ weights + bias).numpy() for weights, bias in solutions])
        return [np.concatenate(logits) for logits in zip(*parts, strict=True)]

    @property
    def _known_rows(self) -> Tensor:
        return self.is_known.nonzero()[:, 0]

    def _path(self, fitted: Sequence[Tensor], penalties: Sequence[float]) -> Iterator[Solution]:
        return fit_logistic_path(
            self.problem.x,
            self.targets,
            self.outputs,
            self.loss,
            penalties,
            fitted,
            self.problem.eigenvalues,
        )

    def _solve_logistic(self, penalties: Sequence[float]) -> Solution:
        weights, bias = list(self._path([self._known_rows], penalties))[-1]
        return weights[:, 0], bias[0]

    def _ridge_path(self) -> RidgePath:
        eigenvalues = self.problem.eigenvalues if self.is_known.all() else None
        return RidgePath.compute(self.problem.x[self.is_known], self.squares_targets, eigenvalues)

    def ridge(self, penalties: Sequence[float]) -> Iterator[Candidate]:
        """Yield a candidate for each C."""
        folds, path = self.stage.folds, self._ridge_path()
        if folds.is_crossed:
            positions = (torch.cumsum(self.is_known, 0) - 1).numpy()
            is_known = self.is_known.numpy()
            parts = [torch.from_numpy(positions[p[is_known[p]]]) for p in folds.parts]
            for penalty in penalties:
                weights, bias = path.weights(penalty)
                values = self.problem.x @ weights + bias
                values[self.is_known] = path.predict_left_out(penalty, parts)
                solve = partial(path.weights, penalty)
                yield self._candidate(RIDGE, penalty, values.numpy(), solve)
            return
        predictions = self._predict([path.weights(penalty) for penalty in penalties])
        for penalty, logits in zip(penalties, predictions, strict=True):
            yield self._candidate(RIDGE, penalty, logits, partial(path.weights, penalty))

    def _candidate(self, kind: str, penalty: float, logits: np.ndarray, solve: Solve) -> Candidate:
        columns = tuple(column.name for column in self.dataset.features.columns)
        return Candidate(
            name=kind if len(columns) == len(self.stage.folds.whole.features.columns) > 1
            else f"{'+'.join(columns)}: {kind}",
            columns=columns,
            settings={"model": kind, "inverse_penalty": penalty, "scaling": self.name},
            logits=logits,
            judgement=self.stage.judge.judge(logits),
            build=partial(self._build, kind, penalty, solve),
        )  # fmt: skip

    def _build(self, kind: str, penalty: float, solve: Solve) -> list[Model]:
        """Return the model of a solution; refine it if not all training rows were read.

        If the search fits models once more, return that of all its rows.
        """
        if self.stage.folds.final:
            return self._refit(self.stage.folds.final, kind, penalty)
        architecture = Architecture(
            **input_shapes(self.dataset.features.columns),
            outputs=self.outputs,
            fusion=kind,
            combination="linear",
            dropout=0.0,
            modality_dropout=0.0,
        )
        model = LinearModel(architecture)
        set_scaling(model, dict(self.scaling))
        self.problem.fill(model, *solve())
        is_whole = len(self.training) >= len(self.dataset.split_rows[TRAIN])
        if kind == LOGISTIC and not is_whole:
            recipe = replace(self.stage.recipe, inverse_penalty=penalty, epochs=_REFINING_EPOCHS)
            fitted = fit_logistic(architecture, self.dataset, recipe, start_from=model).module
            assert isinstance(fitted, LinearModel)
            model = fitted
        return [model.eval()]

    def _refit(self, final: Dataset, kind: str, penalty: float) -> list[Model]:
        """Return the model that is fitted to all rows of the search, in the same scaling."""
        dataset = final.select_columns([column.name for column in self.dataset.features.columns])
        stage = replace(self.stage, folds=replace(self.stage.folds, final=None))
        fit = _ScaledFit(stage, dataset, self.name, self.scaling)
        solve = partial(fit._ridge_path().weights, penalty)
        if kind == LOGISTIC:
            penalties = [c for c in self.stage.logistic_penalties if c <= penalty]
            solve = partial(fit._solve_logistic, penalties)
        return fit._build(kind, penalty, solve)


def _same(solution: Solution) -> Solution:
    return solution
