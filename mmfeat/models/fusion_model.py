"""The fusion model: projections → fusion → combination → classifier."""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from mmfeat.errors import MmfeatError
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.masks import as_tokens, hide_modalities, masked_mean, modality_mask
from mmfeat.models.projection import Projection


class FusionModelOutput(NamedTuple):
    """The output of a fusion model for a batch.

    Attributes:
        logits: shape [batch, outputs].
        weights: modality weights, shape [batch, modalities]; None if the fusion has none.
        h: projected modalities, shape [batch, modalities, d].
        mask: modalities that are present and not hidden by modality dropout, bool, shape
            [batch, modalities].
    """

    logits: Tensor
    weights: Tensor | None
    h: Tensor
    mask: Tensor


class FusionModel(Model):
    """One projection per modality, one fusion, one combination, one linear classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        fusion = FUSIONS[a.fusion]
        # A ModuleList, not a ModuleDict: a module's name may not hold a dot, a column's may.
        self.projections = nn.ModuleList(
            Projection(dim, a.hidden, a.dropout, fusion.absent_value, a.conditioning.get(name))
            for name, dim in a.dims.items()
        )
        self.fusion = fusion(len(a.dims), a.hidden)
        self.combination = COMBINATIONS[a.combination](self.fusion.out_dim, a.hidden, a.dropout)
        self.classifier = nn.Linear(self.combination.out_dim, a.outputs)

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.encode`: the projections, shape [batch, d] or [batch, tokens, d]."""
        return {
            column: projection(features[column], present[column])
            for column, projection in zip(self.columns, self.projections, strict=True)
        }

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward_encoded`; there are weights if the fusion has weights."""
        output = self._fuse(encoded, present)
        return output.logits, output.weights

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`; there are weights if the fusion has weights."""
        output = self.forward_all(features, present)
        return output.logits, output.weights

    def forward_all(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> FusionModelOutput:
        """Compute logits and intermediate values; arguments as for `Model.encode`."""
        if self.training and self.architecture.modality_dropout:
            present = hide_modalities(self.columns, present, self.architecture.modality_dropout)
        return self._fuse(self.encode(features, present), present)

    def _fuse(self, encoded: dict[str, Tensor], present: dict[str, Tensor]) -> FusionModelOutput:
        """Fuse the output of `encode`. A fusion of pooled vectors takes the mean of the tokens."""
        mask = modality_mask(self.columns, present)
        sequences = [as_tokens(encoded[column], present[column]) for column in self.columns]
        h = torch.stack([masked_mean(*sequence) for sequence in sequences], dim=1)
        if self.fusion.takes_tokens:
            tokens, token_masks = zip(*sequences, strict=True)
            output = self.fusion(list(tokens), list(token_masks))
        else:
            output = self.fusion(h, mask)
        x, weights = self._check_output(output, mask)
        return FusionModelOutput(self.classifier(self.combination(x, h)), weights, h, mask)

    def _check_output(self, output: Any, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output of the fusion, which may be a plug-in, and check its shapes.

        Raises:
            MmfeatError: it is no `FusionOutput`, or its shapes are others.
        """
        x, weights = output if isinstance(output, tuple) and len(output) == 2 else (output, None)
        rows, modalities = mask.shape
        is_pair = isinstance(output, tuple) and isinstance(x, Tensor)
        if not is_pair or x.shape != (rows, self.fusion.out_dim):
            rule = f"x of the shape [{rows}, {self.fusion.out_dim}] (batch, out_dim)"
            self._refuse(rule, x if is_pair else output)
        if weights is not None and (
            not isinstance(weights, Tensor) or weights.shape != (rows, modalities)
        ):
            self._refuse(
                f"weights of the shape [{rows}, {modalities}] (batch, modalities)", weights
            )
        return x, weights

    def _refuse(self, rule: str, value: Any) -> NoReturn:
        got = type(value).__name__
        got += f" of the shape {list(value.shape)}" if isinstance(value, Tensor) else ""
        raise MmfeatError(
            f"the fusion {self.architecture.fusion} must return FusionOutput(x, weights) with "
            f"{rule}",
            got=got,
            cure=f"Repair {type(self.fusion).__module__}.{type(self.fusion).__qualname__}",
        )
