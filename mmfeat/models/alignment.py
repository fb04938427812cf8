"""Alignment: every modality as a vector of one shared space, where what belongs together is near.

Named in the place of a fusion. Its outputs are no logits of classes; `mmfeat.models.tasks.align`
says what stands where in them.
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion.attention import masked_mean
from mmfeat.models.fusion_model import as_tokens, modality_mask
from mmfeat.models.projection import Projection

REFERENCES = 512
"""Records of the validation split that a model keeps to compare others with."""

_FIRST_SCALE, _LARGEST_SCALE = 10.0, 100.0
_FIRST_BIAS = -10.0


class AlignmentModel(Model):
    """z_m = √s · f_m(x_m) / |f_m(x_m)| for each modality present, 0 for the others.

    f_m is LayerNorm, dropout, a linear map; with a combination other than `linear`, that and a
    linear map on top. s is learned, so that z_a · z_b = s · cosine is the logit of "these two
    belong together" (Radford et al. 2021, arXiv:2103.00020); so is the bias b, which only the
    sigmoid loss uses (Zhai et al. 2023, arXiv:2303.15343).

    Attributes:
        references: buffer, shape [modalities, REFERENCES, d]; z of records to compare with, 0
            where there are fewer. Filled on the validation split after training.
    """

    references: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        self.heads = nn.ModuleList(Head(dim, a) for dim in a.dims.values())
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.bias = nn.Parameter(torch.tensor(_FIRST_BIAS))
        self.register_buffer("references", torch.zeros(len(a.dims), REFERENCES, a.hidden))

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """See `Model.forward`: [z of each modality, one after another | b | alignment | log ratio].

        The last two are 0 in training, where nothing looks at them.
        """
        mask = modality_mask(self.columns, present)
        h = torch.stack(
            [
                head(features[column], present[column])
                for column, head in zip(self.columns, self.heads, strict=True)
            ],
            dim=1,
        )
        length = self.log_scale.clamp(max=math.log(_LARGEST_SCALE)).mul(0.5).exp()
        z = torch.where(mask.unsqueeze(2), nn.functional.normalize(h.float(), dim=2) * length, 0)
        if self.training:
            judged = z.new_zeros(len(z), 2)
        else:
            judged = torch.stack(judge(z, self.references, self.temperature), dim=1)
        return torch.cat([z.flatten(1), self.bias.expand(len(z), 1), judged], dim=1), None


class Head(nn.Module):
    """f_m, from the features of one modality to the shared space."""

    def __init__(self, dim: int, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.projection = Projection(dim, a.hidden, a.dropout)
        self.combination = COMBINATIONS[a.combination](a.hidden, a.hidden, a.dropout)
        is_linear = a.combination == "linear"
        self.out = nn.Identity() if is_linear else nn.Linear(self.combination.out_dim, a.hidden)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Shapes as in `Projection.forward` → [batch, d]; of tokens, from their mean."""
        h = masked_mean(*as_tokens(self.projection(x, present), present))
        out: Tensor = self.out(self.combination(h, h.unsqueeze(1)))
        return out


def judge(z: Tensor, references: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """How well the modalities of each record fit together, as the mean over its pairs of them.

    The log ratio of a pair a, b is an estimate of log p(a, b) / p(a) p(b): with logits divided by
    the temperature, its own logit less the log of the mean exp of the logits that a has with the
    b of the references; and the same from b to a; the mean of both. What both losses are least at
    is this ratio, up to a factor that the references take out (van den Oord et al. 2018,
    arXiv:1807.03748).

    Args:
        z: shape [batch, modalities, d]; 0 for what is absent.
        references: shape [modalities, references, d]; likewise.
        temperature: shape [].

    Returns:
        alignment, the cosine, and the log ratio; both of shape [batch], and 0 for a record that
        has no pair. Without references the log ratio is 0.
    """
    there = is_there(z)
    pairs = list(combinations(range(z.shape[1]), 2))
    both = torch.stack([there[:, a] & there[:, b] for a, b in pairs], dim=1)
    own = torch.stack([(z[:, a] * z[:, b]).sum(dim=1) for a, b in pairs], dim=1)
    scale = z.square().sum(dim=2).amax(dim=1, keepdim=True).clamp(min=1e-12)
    ratio = torch.zeros_like(own)
    if is_there(references).any(dim=1).all():
        ratio = own / temperature
        for number, (a, b) in enumerate(pairs):
            others = _log_mean_exp(z[:, a], references[b], temperature)
            others = others + _log_mean_exp(z[:, b], references[a], temperature)
            ratio[:, number] -= others / 2
    count = both.sum(dim=1).clamp(min=1)
    return (both * own / scale).sum(dim=1) / count, (both * ratio).sum(dim=1) / count


def is_there(z: Tensor) -> Tensor:
    """Which modalities are present: those whose vector is not 0; bool, z's shape without d."""
    return (z != 0).any(dim=-1)


def _log_mean_exp(z: Tensor, references: Tensor, temperature: Tensor) -> Tensor:
    """log of the mean over the references of exp(z · r / temperature), shape [batch]."""
    there = is_there(references)
    logits = (z @ references.T / temperature).masked_fill(~there, -torch.inf)
    return logits.logsumexp(dim=1) - there.sum().log()
