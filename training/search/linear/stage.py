"""The linear candidates: logistic and ridge regression of some columns."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.architecture import LOGISTIC, RIDGE, Architecture
from mmfeat.models.base import Model
from mmfeat.models.linear import LinearModel, NormalizedFeatures, Scaling, normalize_features
from mmfeat.models.saved_model import input_shapes
from training.conditioning import collect_moments, inverse_document_frequency, is_sparse
from training.data import TRAIN, Dataset
from training.fit.linear import find_scaling, fit_logistic, set_scaling
from training.recipe import RIDGE_PENALTIES, LogisticRecipe
from training.search.candidate import Candidate, Judge
from training.search.folds import Folds
from training.search.linear.problem import (
    LinearProblem,
    RidgePath,
    Solution,
    fit_logistic_path,
)

PLAIN, WEIGHTED = "plain", "weighted"
"""Scalings of the features: none; or each value of a dense column divided by its standard
deviation, and each value of a sparse column multiplied by its inverse document frequency."""

_MAX_BYTES = 1 << 27
"""Maximum size of the inputs of the training rows in memory; evenly spaced rows fit candidates if
all are larger."""

_PART_ROWS = 1024
"""Rows whose features are read at a time."""

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
        ridge_penalties: values of C; empty = no ridge regression.
        scalings: the scalings to try.
    """

    folds: Folds
    judge: Judge
    recipe: LogisticRecipe
    logistic_penalties: Sequence[float]
    ridge_penalties: Sequence[float]
    scalings: Sequence[str]

    def fit(self, columns: Sequence[str]) -> list[Candidate]:
        """Return a candidate of each kind of model, at its best scaling and C.

        Ridge regression, which is solved in closed form, chooses the scaling of both.
        """
        dataset = self.folds.whole.select_columns(columns)
        scalings = find_scalings(dataset)
        start = time.perf_counter()
        fits = [
            _ScaledFit(self, dataset, name, scalings[name])
            for name in self.scalings
            if name in scalings
        ] or [_ScaledFit(self, dataset, PLAIN, scalings[PLAIN])]
        best: list[Candidate] = []
        chosen = fits[0]
        for fit in fits if len(fits) > 1 or self.ridge_penalties else []:
            for candidate in fit.ridge():
                if not best or candidate.judgement.key > best[0].judgement.key:
                    best, chosen = [candidate], fit
        best = [replace(c, seconds=time.perf_counter() - start) for c in best]
        if self.logistic_penalties:
            start = time.perf_counter()
            winner = max(chosen.logistic(), key=lambda candidate: candidate.judgement.key)
            best.append(replace(winner, seconds=time.perf_counter() - start))
        return best if self.ridge_penalties else best[-1:]


class _ScaledFit:
    """Linear models of some columns in one scaling."""

    def __init__(
        self, stage: LinearStage, dataset: Dataset, name: str, scaling: Mapping[str, Scaling]
    ) -> None:
        self.stage, self.dataset, self.name, self.scaling = stage, dataset, name, scaling
        objective = dataset.objective
        self.outputs = objective.task.outputs
        self.training = _sample_rows(dataset) if not stage.folds.is_crossed else stage.folds.rows
        self.problem = LinearProblem.prepare(_read_inputs(dataset, self.training, scaling))
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
        for start in range(0, len(rows), _PART_ROWS):
            part = _read_inputs(self.dataset, rows[start : start + _PART_ROWS], self.scaling)
            inputs = self.problem.transform(part)
            parts.append([(inputs @ weights + bias).numpy() for weights, bias in solutions])
        return [np.concatenate(logits) for logits in zip(*parts, strict=True)]

    @property
    def _known_rows(self) -> Tensor:
        return self.is_known.nonzero()[:, 0]

    def _path(self, fitted: Sequence[Tensor], penalties: Sequence[float]) -> Iterator[Solution]:
        return fit_logistic_path(
            self.problem.x, self.targets, self.outputs, self.loss, penalties, fitted
        )

    def _solve_logistic(self, penalties: Sequence[float]) -> Solution:
        weights, bias = list(self._path([self._known_rows], penalties))[-1]
        return weights[:, 0], bias[0]

    def ridge(self) -> Iterator[Candidate]:
        """Yield a candidate for each C."""
        folds, problem = self.stage.folds, self.problem
        all_known = bool(self.is_known.all())
        path = RidgePath.compute(
            problem.x[self.is_known],
            self.squares_targets,
            problem.eigenvalues if all_known else None,
        )
        if folds.is_crossed:
            positions = (torch.cumsum(self.is_known, 0) - 1).numpy()
            is_known = self.is_known.numpy()
            parts = [torch.from_numpy(positions[p[is_known[p]]]) for p in folds.parts]
            for penalty in self.stage.ridge_penalties or RIDGE_PENALTIES:
                weights, bias = path.weights(penalty)
                values = self.problem.x @ weights + bias
                values[self.is_known] = path.predict_left_out(penalty, parts)
                solve = partial(path.weights, penalty)
                yield self._candidate(RIDGE, penalty, values.numpy(), solve)
            return
        penalties = self.stage.ridge_penalties or RIDGE_PENALTIES
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
        """Return the model of a solution; refine it if not all training rows were read."""
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


def _same(solution: Solution) -> Solution:
    return solution


def find_scalings(dataset: Dataset) -> dict[str, dict[str, Scaling]]:
    """Return the scaling of each column by name of the scaling; equal ones once."""
    plain = find_scaling(dataset, standardised=False)
    weighted = find_scaling(dataset, standardised=True)
    pooled = {c.name: "" for c in dataset.features.columns if not c.max_tokens}
    for name, moments in collect_moments(dataset, pooled).items():
        if is_sparse(moments):
            scale = inverse_document_frequency(moments).float()
            weighted[name] = Scaling(torch.zeros_like(scale), scale)
    same = all(torch.equal(a, b) for n in plain for a, b in zip(plain[n], weighted[n], strict=True))
    return {PLAIN: plain} if same else {PLAIN: plain, WEIGHTED: weighted}


def _sample_rows(dataset: Dataset) -> np.ndarray:
    """Return the training rows, or as many as fit, evenly spaced."""
    rows = dataset.split_rows[TRAIN]
    row_bytes = 4 * sum(column.dim for column in dataset.features.columns)
    most = max(1, _MAX_BYTES // row_bytes)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _read_inputs(
    dataset: Dataset, rows: np.ndarray, scaling: Mapping[str, Scaling]
) -> NormalizedFeatures:
    """Return x̂ and presence of each column for some rows."""
    parts: list[NormalizedFeatures] = []
    for start in range(0, len(rows), _PART_ROWS):
        features, present = dataset.features.take(rows[start : start + _PART_ROWS])
        parts.append(
            [
                normalize_features(
                    torch.from_numpy(np.array(values, np.float32)),
                    torch.from_numpy(np.array(present[name])),
                    scaling[name],
                )
                for name, values in features.items()
            ]
        )
    return [
        (torch.cat([x for x, _ in column]), torch.cat([mask for _, mask in column]))
        for column in zip(*parts, strict=True)
    ]
