"""Fit input conditioning on the training rows, in passes over batches.

Memory does not grow with the rows: the moments take 4 values per feature value, the principal
components a covariance matrix of at most 1,024² values, or a block of k + 8 vectors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.conditioning import (
    IDF,
    IDF_PCA,
    PCA,
    PROJECTED,
    STANDARDIZE,
    InputConditioning,
)
from training.data import TRAIN, Batches, Dataset

NONE = "none"
"""Features as they are."""

DEFAULT_SIZE = 128
"""Number of principal components of `pca` without a size."""

_PART_ROWS = 4096
"""Rows in memory at a time."""

_MAX_COVARIANCE = 1024
"""Longest vectors whose covariance matrix is decomposed; longer ones get subspace iteration."""

_OVERSAMPLING, _PASSES = 8, 4
"""Additional vectors and passes of subspace iteration."""

_MIN_DEVIATION = 1e-3
"""A value whose deviation is a smaller fraction of the column's largest one is set to 0."""

_SPARSE = 0.1
"""Maximum fraction of nonzero values in a sparse column."""


@dataclass
class Moments:
    """Sums over the training vectors of a column, float64, shape [dim] each.

    Attributes:
        rows: number of vectors.
    """

    rows: float
    total: Tensor
    squares: Tensor
    nonzero: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of each value."""
        return self.total / max(1.0, self.rows)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each value."""
        return (self.squares / max(1.0, self.rows) - self.mean.square()).clamp(min=0).sqrt()


def is_sparse(moments: Moments) -> bool:
    """Return whether at most a tenth of the values of a column are not zero."""
    return bool(moments.nonzero.sum() <= _SPARSE * moments.rows * len(moments.nonzero))


def resolve_conditioning(conditioning: str, dataset: Dataset) -> dict[str, str]:
    """Return the conditioning of each column; `pca` gets the size that the training rows support.

    Args:
        conditioning: the same for all columns, without a size; `none` = none.
        dataset: the rows.
    """
    if conditioning == NONE:
        return {}
    rows = len(dataset.split_rows[TRAIN])
    return {
        column.name: f"{PCA}:{max(1, min(DEFAULT_SIZE, column.dim, rows // 2))}"
        if conditioning == PCA
        else conditioning
        for column in dataset.features.columns
    }


def fit_conditioning(
    dataset: Dataset, conditioning: Mapping[str, str]
) -> dict[str, InputConditioning]:
    """Return the fitted conditioning of columns; for token columns, of their tokens.

    Principal components are those of the covariance matrix, or the result of subspace iteration
    with a random start (Halko, Martinsson and Tropp 2011, arXiv:0909.4061, algorithm 4.4).

    Args:
        dataset: the rows; those of its split `train` are used, without their targets.
        conditioning: column → conditioning, see `InputConditioning`.
    """
    columns = {column.name: column for column in dataset.features.columns}
    moments = collect_moments(dataset, conditioning)
    fitted = {}
    for name, text in conditioning.items():
        module = InputConditioning(columns[name].dim, text)
        _set_scaling(module, moments[name])
        if module.kind in PROJECTED:
            covariance = columns[name].dim <= _MAX_COVARIANCE
            components = _decompose if covariance else _iterate_subspace
            basis, mean = components(module, dataset, name)
            module.basis.copy_(basis[:, : module.out_dim])
            module.offset.copy_(mean @ basis[:, : module.out_dim])
        fitted[name] = module
    return fitted


def collect_moments(dataset: Dataset, names: Mapping[str, str]) -> dict[str, Moments]:
    """Return the moments of columns, in one pass."""
    moments: dict[str, Moments] = {}
    for batch in Batches(dataset, _PART_ROWS, shuffled=False):
        for name in names:
            x = batch.features[name][batch.present[name]].double()
            part = Moments(len(x), x.sum(0), x.square().sum(0), (x != 0).sum(0).double())
            if name in moments:
                known = moments[name]
                part = Moments(
                    known.rows + part.rows,
                    known.total + part.total,
                    known.squares + part.squares,
                    known.nonzero + part.nonzero,
                )
            moments[name] = part
    return moments


def inverse_document_frequency(moments: Moments) -> Tensor:
    """Return log((1 + n) / (1 + df)) + 1 of each value, float64, as scikit-learn computes it.

    A value that is 0 in all training rows has weight 0, as a word that TF-IDF does not know.
    """
    weights = ((1 + moments.rows) / (1 + moments.nonzero)).log() + 1
    return torch.where(moments.nonzero > 0, weights, 0)


def _set_scaling(module: InputConditioning, moments: Moments) -> None:
    """Set mean and scale of a conditioning."""
    if module.kind in (IDF, IDF_PCA):
        module.scale.copy_(inverse_document_frequency(moments))
        return
    module.mean.copy_(moments.mean)
    if module.kind == STANDARDIZE:
        deviation = moments.deviation
        varies = deviation > _MIN_DEVIATION * deviation.max()
        module.scale.copy_(torch.where(varies, 1 / deviation, 0))


def _directions(module: InputConditioning, dataset: Dataset, name: str) -> Iterator[Tensor]:
    """Yield the scaled training vectors in parts, shape [n, dim]."""
    for batch in Batches(dataset, _PART_ROWS, shuffled=False):
        yield module.scaled(batch.features[name][batch.present[name]])


def _decompose(module: InputConditioning, dataset: Dataset, name: str) -> tuple[Tensor, Tensor]:
    """Return all principal directions, shape [dim, dim], and the mean, shape [dim]."""
    dim = len(module.mean)
    total = torch.zeros(dim, dtype=torch.float64)
    gram = torch.zeros(dim, dim, dtype=torch.float64)
    rows = 0
    for x in _directions(module, dataset, name):
        rows += len(x)
        total += x.double().sum(dim=0)
        gram += (x.T @ x).double()
    mean = total / max(1, rows)
    gram.addr_(mean, mean, alpha=-rows)
    basis = torch.linalg.eigh(gram)[1].flip(1)
    return basis.float(), mean.float()


def _iterate_subspace(
    module: InputConditioning, dataset: Dataset, name: str
) -> tuple[Tensor, Tensor]:
    """Return the first principal directions, shape [dim, k], and the mean, shape [dim]."""
    dim = len(module.mean)
    size = min(dim, module.out_dim + _OVERSAMPLING)
    start = np.random.default_rng(0).standard_normal((dim, size))
    block = torch.linalg.qr(torch.from_numpy(start).float())[0]
    mean = torch.zeros(dim)
    for number in range(_PASSES):
        product = torch.zeros(dim, size)
        total = torch.zeros(dim, dtype=torch.float64)
        rows = 0
        for x in _directions(module, dataset, name):
            rows += len(x)
            total += x.double().sum(dim=0)
            product += x.T @ (x @ block)
        mean = (total / max(1, rows)).float()
        product -= rows * torch.outer(mean, mean @ block)
        if number < _PASSES - 1:
            block = torch.linalg.qr(product)[0]
    vectors = torch.linalg.eigh((block.T @ product).double())[1].flip(1)
    return block @ vectors.float(), mean
