"""Input conditioning: fit it on the training rows, and apply it to a dataset."""

from training.conditioning.apply import (
    attach_conditioning,
    condition_dataset,
    with_conditioning,
    without_conditioning,
)
from training.conditioning.fit import (
    DEFAULT_SIZE,
    NONE,
    collect_moments,
    fit_conditioning,
    inverse_document_frequency,
    is_sparse,
    resolve_conditioning,
)

__all__ = [
    "DEFAULT_SIZE",
    "NONE",
    "attach_conditioning",
    "collect_moments",
    "condition_dataset",
    "fit_conditioning",
    "inverse_document_frequency",
    "is_sparse",
    "resolve_conditioning",
    "with_conditioning",
    "without_conditioning",
]
