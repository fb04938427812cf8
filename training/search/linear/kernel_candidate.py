"""The kernel candidate of some columns: kernel ridge regression on few rows."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.architecture import KERNEL, Architecture
from mmfeat.models.base import Model
from mmfeat.models.linear import KernelModel, NormalizedFeatures, Scaling, squared_distances
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
    inputs = read_inputs(dataset, training, scaling)
    targets = torch.from_numpy(dataset.targets[training])
    y = dataset.objective.least_squares_targets(targets).double()
    try:
        gamma, penalty = choice.choose_kernel(scaling, penalties)
        kernel = torch.exp(-gamma * squared_distances(inputs, inputs).double()).add_(1)
        fit = fit_kernel(kernel, y, penalty, _fold_parts(folds, training))
    except RuntimeError:  # features so large that the kernel is not finite
        return []
    columns = [column.name for column in dataset.features.columns]
    model = _build(dataset, scaling, inputs, fit.weights, gamma)
    logits = compute_logits(model, dataset, folds.rows)
    if folds.is_crossed:
        logits[np.searchsorted(folds.rows, training)] = fit.left_out.float().numpy()
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
            build=partial(list, [model]),
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


def _build(
    dataset: Dataset,
    scaling: Mapping[str, Scaling],
    inputs: NormalizedFeatures,
    weights: Tensor,
    gamma: float,
) -> Model:
    architecture = Architecture(
        **input_shapes(dataset.features.columns),
        outputs=weights.shape[1],
        fusion=KERNEL,
        combination="linear",
        dropout=0.0,
        modality_dropout=0.0,
        support=len(weights),
    )
    model = KernelModel(architecture)
    set_scaling(model, dict(scaling))
    with torch.no_grad():
        for target, (x, _) in zip(model.support, inputs, strict=True):
            target.copy_(x)
        model.absent.copy_(torch.cat([~present for _, present in inputs], dim=1))
        model.gamma.fill_(gamma)
        model.weights.copy_(weights)
        model.bias.copy_(weights.sum(dim=0))
    return model.eval()
