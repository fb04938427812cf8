"""Alignment: vectors of one shared space in which matching modalities are close.

`--task align` builds this model instead of a fusion. `mmfeat.models.tasks.align` documents the
layout of its outputs, which are not class logits.
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import ColumnwiseModel
from mmfeat.models.masks import modality_mask
from mmfeat.models.projection import UnimodalEncoder

MAX_REFERENCES = 512
"""Maximum number of validation records that a model keeps as references."""

_INITIAL_SCALE, _MAX_SCALE = 10.0, 100.0
_INITIAL_BIAS = -10.0


class AlignmentModel(ColumnwiseModel):
    """z_m = √s · f_m(x_m) / |f_m(x_m)| for each present modality, 0 for the others.

    f_m is LayerNorm, dropout and a linear map, then the combination and, unless that is `linear`,
    another linear map. The scale s is learned: z_a · z_b = s · cosine is the logit of "a and b
    belong together" (Radford et al. 2021, arXiv:2103.00020). So is the bias b, which only the
    sigmoid loss uses (Zhai et al. 2023, arXiv:2303.15343).

    Attributes:
        references: buffer, shape [modalities, MAX_REFERENCES, d]; z of reference records, padded
            with 0. Filled from the validation split after training.
    """

    references: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        self.heads = nn.ModuleList(
            AlignmentEncoder(dim, a, a.conditioning.get(name)) for name, dim in a.dims.items()
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(_INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(_INITIAL_BIAS))
        self.register_buffer("references", torch.zeros(len(a.dims), MAX_REFERENCES, a.hidden))

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`. Returns [z of each modality | b | alignment | log ratio].

        In training, alignment and log ratio are unused and 0.
        """
        mask = modality_mask(self.columns, present)
        h = torch.stack([encoded[column] for column in self.columns], dim=1)
        length = self.log_scale.clamp(max=math.log(_MAX_SCALE)).mul(0.5).exp()
        z = torch.where(mask.unsqueeze(2), nn.functional.normalize(h.float(), dim=2) * length, 0)
        if self.training:
            scores = z.new_zeros(len(z), 2)
        else:
            scores = torch.stack(score_alignment(z, self.references, self.temperature), dim=1)
        return torch.cat([z.flatten(1), self.bias.expand(len(z), 1), scores], dim=1), None


class AlignmentEncoder(UnimodalEncoder):
    """f_m: map the features of one modality to the shared space."""

    def __init__(
        self, dim: int, architecture: Architecture, conditioning: str | None = None
    ) -> None:
        super().__init__(dim, architecture, conditioning)
        is_linear = architecture.combination == "linear"
        width = self.combination.out_dim
        self.out = nn.Identity() if is_linear else nn.Linear(width, architecture.hidden)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return vectors, shape [batch, d]; arguments as for `UnimodalEncoder.forward`."""
        out: Tensor = self.out(super().forward(x, present))
        return out


def score_alignment(z: Tensor, references: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Score how well the modalities of each record fit together, averaged over its pairs.

    The log ratio of a pair a, b estimates log p(a, b) / p(a) p(b): its own logit, divided by the
    temperature, minus the log mean exp of a's logits with the references of b; the same from b to
    a; the mean of both. Both losses are minimal at this ratio, up to a factor that the references
    cancel (van den Oord et al. 2018, arXiv:1807.03748).

    Args:
        z: shape [batch, modalities, d]; 0 for absent modalities.
        references: shape [modalities, references, d]; 0 for absent modalities.
        temperature: shape [].

    Returns:
        alignment (the cosine) and log ratio, shape [batch] each; 0 for a record without a pair.
        Without references the log ratio is 0.
    """
    present = is_present(z)
    pairs = list(combinations(range(z.shape[1]), 2))
    has_pair = torch.stack([present[:, a] & present[:, b] for a, b in pairs], dim=1)
    own = torch.stack([(z[:, a] * z[:, b]).sum(dim=1) for a, b in pairs], dim=1)
    scale = z.square().sum(dim=2).amax(dim=1, keepdim=True).clamp(min=1e-12)
    ratio = torch.zeros_like(own)
    if is_present(references).any(dim=1).all():
        ratio = own / temperature
        for number, (a, b) in enumerate(pairs):
            others = _log_mean_exp(z[:, a], references[b], temperature)
            others = others + _log_mean_exp(z[:, b], references[a], temperature)
            ratio[:, number] -= others / 2
    count = has_pair.sum(dim=1).clamp(min=1)
    return (has_pair * own / scale).sum(dim=1) / count, (has_pair * ratio).sum(dim=1) / count


def is_present(z: Tensor) -> Tensor:
    """Return which vectors are not 0: bool, z's shape without d."""
    return (z != 0).any(dim=-1)


def _log_mean_exp(z: Tensor, references: Tensor, temperature: Tensor) -> Tensor:
    """Return log of the mean over the references of exp(z · r / temperature), shape [batch]."""
    present = is_present(references)
    logits = (z @ references.T / temperature).masked_fill(~present, -torch.inf)
    return logits.logsumexp(dim=1) - present.sum().log()
