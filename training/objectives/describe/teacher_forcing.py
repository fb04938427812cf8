"""The training loss of texts: each token is predicted from the right tokens before it."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.decoder.text_codec import TextCodec

IGNORED = -100
"""Stands for the padding in the targets of a cross-entropy."""


class TeacherForcing:
    """The mean cross-entropy of the tokens, with label smoothing.

    Args:
        tokens: int32, shape [texts, length], each with its end token, padded.
        codec: the tokens' codec.
        label_smoothing: probability of all tokens in the target distribution.
    """

    def __init__(self, tokens: Tensor, codec: TextCodec, label_smoothing: float) -> None:
        self._tokens, self._codec, self._smoothing = tokens, codec, label_smoothing

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the tokens, shape [].

        Args:
            logits: shape [batch, length, vocabulary].
            targets: int64 numbers of texts, shape [batch].
        """
        counted = token_targets(self.tokens(targets), self._codec)
        return nn.functional.cross_entropy(
            logits.flatten(0, 1),
            counted.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self._smoothing,
        )

    def tokens(self, targets: Tensor) -> Tensor:
        """Return the tokens of a batch, int64; on a CPU, no longer than its longest text."""
        tokens = self._tokens.index_select(0, targets)
        if tokens.device.type == "cpu":
            # On a GPU, the length of a batch would be a result to wait for.
            tokens = tokens[:, : int((tokens == self._codec.eos).int().argmax(dim=1).max()) + 1]
        return tokens.long()

    def of_batch(
        self,
        model: DescriptionModel,
        features: dict[str, Tensor],
        present: dict[str, Tensor],
        targets: Tensor,
        autocast: AbstractContextManager[Any],
    ) -> Tensor:
        """Return the loss of a batch, shape []."""
        with autocast:
            logits = model.next_token_logits(features, present, self.tokens(targets))
        return self(logits.float(), targets)


def token_targets(tokens: Tensor, codec: TextCodec) -> Tensor:
    """Return the tokens, -100 for the padding behind the end token."""
    is_end = tokens == codec.eos
    is_behind = is_end.cumsum(dim=1) - is_end.long() > 0
    return torch.where(is_behind, IGNORED, tokens)
