"""The two losses of an alignment: from the logits of all pairs in a batch to a scalar."""

import torch
from torch import Tensor, nn

INFONCE, SIGLIP = "infonce", "siglip"


def infonce(logits: Tensor) -> Tensor:
    """Mean of -log p(own b | a) and -log p(own a | b), by softmax over the batch.

    van den Oord et al. 2018, arXiv:1807.03748; both ways as Radford et al. 2021, arXiv:2103.00020.

    Args:
        logits: shape [n, n]; what belongs together stands on the diagonal.
    """
    own = torch.arange(len(logits), device=logits.device)
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def siglip(logits: Tensor) -> Tensor:
    """Each of the n² pairs judged by itself: -1/n Σ log σ(± logit), + on the diagonal.

    Zhai et al. 2023, arXiv:2303.15343.

    Args:
        logits: shape [n, n], the bias added; what belongs together stands on the diagonal.
    """
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -nn.functional.logsigmoid(signs * logits).sum() / len(logits)
