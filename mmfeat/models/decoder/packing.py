"""Generated texts as rows of numbers, so that they pass through every stage like scores.

    max_length tokens | length | mean log-probability | loss of the reference | its tokens

The last two are 0 unless a reference is known: the sum of -log p of its tokens, with the end token,
and their number.
"""

import numpy as np
import torch
from torch import Tensor

from mmfeat.models.decoder.decoding import Generated

EXTRA_OUTPUTS = 4
LENGTH, LOG_PROBABILITY, REFERENCE_LOSS, REFERENCE_TOKENS = -4, -3, -2, -1
"""Positions in a row. The tokens precede them."""


def pack(generated: Generated) -> Tensor:
    """Return float32, shape [batch, max_length + EXTRA_OUTPUTS]."""
    zero = torch.zeros_like(generated.log_probability)
    extra = [generated.lengths, generated.log_probability, zero, zero]
    return torch.cat([generated.tokens, torch.stack(extra, dim=1)], dim=1).float()


def unpack_tokens(rows: np.ndarray) -> list[list[int]]:
    """Return the tokens of each row, without padding.

    Args:
        rows: shape (rows, max_length + EXTRA_OUTPUTS), finite.
    """
    length = rows.shape[1] - EXTRA_OUTPUTS
    ends = rows[:, LENGTH].clip(0, length).astype(np.int64).tolist()
    numbers = rows[:, :length].astype(np.int64).tolist()
    return [row[:end] for row, end in zip(numbers, ends, strict=True)]
