"""Inputs of the candidates that read normalized features: their rows and their scalings."""

from collections.abc import Mapping

import numpy as np
import torch

from mmfeat.models.linear import NormalizedFeatures, Scaling, normalize_features
from training.conditioning import collect_moments, inverse_document_frequency, is_sparse
from training.data import TRAIN, Dataset
from training.fit.linear import find_scaling

PLAIN, WEIGHTED = "plain", "weighted"
"""Scalings of the features: none; or each value of a dense column divided by its standard
deviation, and each value of a sparse column multiplied by its inverse document frequency."""

_MAX_BYTES = 1 << 27
"""Maximum size of the inputs of the training rows in memory; evenly spaced rows fit candidates if
all are larger."""

PART_ROWS = 1024
"""Rows whose features are read at a time."""


def find_scalings(dataset: Dataset) -> dict[str, dict[str, Scaling]]:
    """Return the scaling of each column by name of the scaling."""
    plain = find_scaling(dataset, standardised=False)
    weighted = find_scaling(dataset, standardised=True)
    pooled = {c.name: "" for c in dataset.features.columns if not c.max_tokens}
    for name, moments in collect_moments(dataset, pooled).items():
        if is_sparse(moments):
            scale = inverse_document_frequency(moments).float()
            weighted[name] = Scaling(torch.zeros_like(scale), scale)
    return {PLAIN: plain, WEIGHTED: weighted}


def sample_rows(dataset: Dataset) -> np.ndarray:
    """Return the training rows, or as many as fit, evenly spaced."""
    rows = dataset.split_rows[TRAIN]
    row_bytes = 4 * sum(column.dim for column in dataset.features.columns)
    most = max(1, _MAX_BYTES // row_bytes)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def read_inputs(
    dataset: Dataset, rows: np.ndarray, scaling: Mapping[str, Scaling]
) -> NormalizedFeatures:
    """Return x̂ and presence of each column for some rows."""
    parts: list[NormalizedFeatures] = []
    for start in range(0, len(rows), PART_ROWS):
        features, present = dataset.features.take(rows[start : start + PART_ROWS])
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
