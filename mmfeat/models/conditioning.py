"""Input conditioning: a fixed map of a column's features, fitted on training rows."""

import torch
from torch import Tensor, nn

from mmfeat.errors import MmfeatError, check_choice

CENTER, L2, STANDARDIZE, IDF = "center", "l2", "standardize", "idf"
PCA, IDF_PCA = "pca", "idf_pca"

KINDS = (CENTER, L2, STANDARDIZE, IDF, PCA, IDF_PCA)
"""Kinds of conditioning. `pca` and `idf_pca` have a size, written `pca:128`."""

_MAX_DIGITS = 9
"""Maximum length of a size in a text. Python refuses to convert thousands of digits."""

_NORMALIZED = (L2, IDF, PCA, IDF_PCA)
PROJECTED = (PCA, IDF_PCA)
"""The kinds that project to fewer values."""


def parse_conditioning(text: str, dim: int) -> tuple[str, int]:
    """Return the kind and the output length of a conditioning such as `l2` or `pca:128`.

    Args:
        text: the kind, with its size if it projects.
        dim: length of the features.

    Raises:
        MmfeatError: an unknown kind, or a size that is not from 1 to `dim`.
    """
    kind, _, size = text.partition(":")
    if kind not in KINDS:
        check_choice("conditioning", kind, KINDS)
    if (kind in PROJECTED) != bool(size):
        rule = "has a size, as pca:128" if kind in PROJECTED else "has no size"
        raise MmfeatError(f"the conditioning {kind!r} {rule}", got=text)
    if not size:
        return kind, dim
    is_number = size.isascii() and size.isdigit() and len(size) <= _MAX_DIGITS
    if not (is_number and 1 <= int(size) <= dim):
        raise MmfeatError(f"the size of {kind!r} must be a number from 1 to {dim}", got=text)
    return kind, int(size)


class InputConditioning(nn.Module):
    """Map x to x' by a fixed rule; training sets the buffers, and no gradient changes them.

    - `center`: x − mean
    - `standardize`: (x − mean) · scale, scale = 1 / standard deviation
    - `l2`: the direction of x − mean, as in `LinearModel`
    - `idf`: the direction of x · scale, scale = the inverse document frequency of a value: the
      weights of TF-IDF, for columns of mostly zeros
    - `pca:k`: the first k principal components of `l2`; `idf_pca:k`: of `idf`

    Args:
        dim: length of the features.
        conditioning: see `parse_conditioning`.

    Attributes:
        out_dim: length of x'.
        mean: buffer, shape [dim].
        scale: buffer, shape [dim].
        basis: buffer, shape [dim, out_dim]; the kinds that project only.
        offset: buffer, shape [out_dim]; the projection of the mean direction, is subtracted.
    """

    mean: Tensor
    scale: Tensor
    basis: Tensor
    offset: Tensor

    def __init__(self, dim: int, conditioning: str) -> None:
        super().__init__()
        self.kind, self.out_dim = parse_conditioning(conditioning, dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        if self.kind in PROJECTED:
            self.register_buffer("basis", torch.zeros(dim, self.out_dim))
            self.register_buffer("offset", torch.zeros(self.out_dim))

    @property
    def text(self) -> str:
        """The conditioning as `parse_conditioning` reads it."""
        return f"{self.kind}:{self.out_dim}" if self.kind in PROJECTED else self.kind

    def forward(self, x: Tensor) -> Tensor:
        """Condition features: shape [..., dim] to [..., out_dim]."""
        x = self.scaled(x)
        return x @ self.basis - self.offset if self.kind in PROJECTED else x

    def scaled(self, x: Tensor) -> Tensor:
        """Return the features before the projection, shape [..., dim]."""
        x = (x - self.mean) * self.scale
        return nn.functional.normalize(x, dim=-1) if self.kind in _NORMALIZED else x
