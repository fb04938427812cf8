"""The kernel candidate of some columns: kernel ridge regression on few rows."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.architecture import KERNEL, Architecture
from mmfeat.models.base import Model
from mmfeat.models.linear import KernelModel, Scaling, squared_distances
from mmfeat.models.saved_model import input_shapes
from training.data import TRAIN, Dataset
from training.fit.fit_result import compute_logits
from training.fit.linear import set_scaling
from training.search.candidate import Candidate, Judge
from training.search.folds import Folds
from training.search.linear.choice import ChoiceRows
from training.search.linear.inputs import read_inputs
from training.search.linear.kernel import MAX_KERNEL_ROWS, fit_kernel


def fit_kernel_candidate(
    folds: Folds,
    judge: Judge,
    choice: ChoiceRows,
    scaling_name: str,
    scaling: Mapping[str, Scaling],
    penalties: Sequence[float],
) -> list[Candidate]:
    """Return kernel ridge regression at its best γ and penalty; none for too many rows.

    Args:
        folds: the rows.
        judge: judges predictions.
        choice: rows that choose γ and the penalty, with the columns of the candidate.
        scaling_name: name of the scaling.
        scaling: scaling of each column.
        penalties: penalties to try.
    """
    dataset = choice.dataset
    training = dataset.split_rows[TRAIN]
    if not 2 <= len(training) <= MAX_KERNEL_ROWS:
        return []
    start = time.perf_counter()
    try:
        gamma, penalty = choice.choose_kernel(scaling, penalties)
        parts = _fold_parts(folds, training)
        model, left_out = _fit_model(dataset, scaling, gamma, penalty, parts)
    except RuntimeError:  # features so large that the kernel is not finite
        return []
    columns = [column.name for column in dataset.features.columns]
    logits = compute_logits(model, dataset, folds.rows)
    if folds.is_crossed:
        logits[np.searchsorted(folds.rows, training)] = left_out.float().numpy()
    is_all = len(columns) == len(folds.whole.features.columns) > 1
    return [
        Candidate(
            name=KERNEL if is_all else f"{'+'.join(columns)}: {KERNEL}",
            columns=tuple(columns),
            settings={
                "model": KERNEL,
                "gamma": gamma,
                "inverse_penalty": 1 / penalty,
                "scaling": scaling_name,
            },
            logits=logits,
            judgement=judge.judge(logits),
            build=partial(_refit, folds, model, scaling, penalty),
            seconds=time.perf_counter() - start,
        )
    ]


def _fold_parts(folds: Folds, training: np.ndarray) -> list[Tensor]:
    """Return the positions in the training rows of each fold; none if the search has no folds."""
    if not folds.is_crossed:
        return []
    rows = [folds.rows[part] for part in folds.parts]
    known = [part[np.isin(part, training)] for part in rows]
    return [torch.from_numpy(np.searchsorted(training, part)) for part in known]


def _refit(
    folds: Folds, model: KernelModel, scaling: Mapping[str, Scaling], penalty: float
) -> list[Model]:
    """Return the model, or that of all rows if the search fits models once more."""
    if folds.final:
        dataset = folds.final.select_columns(model.columns)
        model, _ = _fit_model(dataset, scaling, float(model.gamma), penalty, [])
    return [model]


def _fit_model(
    dataset: Dataset,
    scaling: Mapping[str, Scaling],
    gamma: float,
    penalty: float,
    parts: Sequence[Tensor],
) -> tuple[KernelModel, Tensor]:
    """Return the model of the training rows, and the predictions of left-out blocks of them."""
    rows = dataset.split_rows[TRAIN]
    inputs = read_inputs(dataset, rows, scaling)
    targets = torch.from_numpy(dataset.targets[rows])
    y = dataset.objective.least_squares_targets(targets).double()
    kernel = torch.exp(-gamma * squared_distances(inputs, inputs).double()).add_(1)
    fit = fit_kernel(kernel, y, penalty, parts)
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=fit.weights.shape[1],
        fusion=KERNEL,
        combination="linear",
        dropout=0.0,
        modality_dropout=0.0,
        support=len(rows),
    )
    model = KernelModel(architecture)
    set_scaling(model, dict(scaling))
    with torch.no_grad():
        for target, (x, _) in zip(model.support, inputs, strict=True):
            target.copy_(x)
        model.absent.copy_(torch.cat([~present for _, present in inputs], dim=1))
        model.gamma.fill_(gamma)
        model.weights.copy_(fit.weights)
        model.bias.copy_(fit.weights.sum(dim=0))
    return model.eval(), fit.left_out
