"""The encoder of texts that hf, open_clip, rnn and st share, and its tokenizers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmfeat.encoders.neural.base import NeuralEncoder
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.records import decode_text

Tokenize = Callable[[str], list[int]]
"""A function from a text to token ids that threads can share."""

_GPU_TOKENS, _CPU_TOKENS = 16_384, 2048
"""Tokens per batch, padding included. On a CPU the activations should fit the cache of a core: with
MiniLM in bfloat16, 1,024 tokens take 18 % more time, and 16,384 a third more."""


@dataclass(frozen=True)
class TextInputs:
    """How texts become the inputs of a model.

    Attributes:
        tokenize: the tokenizer.
        padding: id of the padding token.
        pad_to: number of tokens that each batch is padded to. None = its longest text.
    """

    tokenize: Tokenize
    padding: int = 0
    pad_to: int | None = None


class TextEncoder(NeuralEncoder):
    """One vector per text, or one per token.

    Args:
        inputs: the tokenizer and the padding.
        runtime: from `ids` and `mask` (1 = token), both int64 of shape [batch, tokens], to
            features.
        identity: the identity.
        max_tokens: maximum number of vectors per text. 0 = exactly one vector.
    """

    modality = "text"
    batch_size = 1024

    float32_tokens = 1024
    """Tokens per batch in float32 on a CPU. With MiniLM, 2,048 take 5 % more time."""

    def __init__(
        self,
        inputs: TextInputs,
        runtime: Runtime,
        identity: dict[str, Any],
        *,
        max_tokens: int = 0,
    ) -> None:
        self.on_gpu, self.parallel_batches = runtime.on_gpu, runtime.parallel_batches
        self.max_tokens = max_tokens
        self._inputs, self._runtime, self._identity = inputs, runtime, identity
        self.dim = int(self.encode([[0]])[0].shape[-1])

    @property
    def budget(self) -> int:  # type: ignore[override]
        """Maximum number of tokens of a batch, padding included."""
        if self.on_gpu:
            return _GPU_TOKENS
        return self.float32_tokens if self._runtime.dtype == torch.float32 else _CPU_TOKENS

    def decode(self, data: bytes) -> list[int]:
        """Tokenize a text, truncated to what the model reads."""
        return self._inputs.tokenize(decode_text(data))

    def length(self, item: Sequence[int]) -> int:
        """Return the number of tokens."""
        return self._inputs.pad_to or len(item)

    def encode(self, batch: Sequence[Sequence[int]]) -> np.ndarray | list[np.ndarray]:
        if not batch:
            return [] if self.max_tokens else np.zeros((0, self.dim), np.float32)
        width = self._inputs.pad_to or max(map(len, batch))
        ids = np.full((len(batch), width), self._inputs.padding, np.int64)
        mask = np.zeros((len(batch), width), np.int64)
        for row, item in enumerate(batch):
            ids[row, : len(item)] = item
            mask[row, : len(item)] = 1
        inputs = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
        features = self._runtime.run(inputs).numpy()
        if not self.max_tokens:
            return features
        return [
            row[: min(len(item), self.max_tokens)]
            for row, item in zip(features, batch, strict=True)
        ]


def thread_safe_tokenizer(tokenizer: Any, limit: int | None) -> Tokenize:
    """Return a function that tokenizes a text, for several threads.

    Each call of a fast tokenizer of transformers sets the truncation again, which fails while
    another thread reads it. Its backend is therefore set once, in place. A slow tokenizer runs in
    one thread at a time.

    Args:
        tokenizer: a tokenizer of transformers.
        limit: maximum number of tokens, special tokens included. None = no limit.
    """
    if getattr(tokenizer, "is_fast", False):
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        if limit is not None:
            backend.enable_truncation(limit)
        return lambda text: list(backend.encode(text).ids)

    def tokenize(text: str) -> list[int]:
        ids = tokenizer(text, truncation=limit is not None, max_length=limit)["input_ids"]
        return list(ids)

    return one_thread_at_a_time(tokenize)


def one_thread_at_a_time(tokenize: Tokenize) -> Tokenize:
    """Guard a tokenizer by a lock."""
    lock = Lock()

    def locked(text: str) -> list[int]:
        with lock:
            return tokenize(text)

    return locked


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Average the vectors of real tokens, in float32 at any precision.

    Args:
        states: shape [batch, tokens, dim].
        mask: shape [batch, tokens], 1 = token.

    Returns:
        Shape [batch, dim].
    """
    weights = mask.unsqueeze(-1).float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
