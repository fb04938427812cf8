"""The text half of a CLIP model of open_clip."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import one_line, tokens_a_batch
from mmfeat.encoders.preprocessing import padded, ragged, text_of
from mmfeat.encoders.runtime import Runtime
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


class ClipText(Encoder):
    """A text's vector, or those of its tokens.

    A causal tower that reads its vector off the end token sees nothing of what follows it, so a
    text ends there and a batch is as long as its longest text; other towers get the whole length.

    Args:
        title: the encoder as the user wrote it, for messages.
        tower: what `cut_tower` gave.
        tokenizer: of open_clip.
        facts: identity, without the share of this modality.
        settings: how it runs.
        output: `projected`, `pooled` or `tokens`.
        max_tokens: 0, or the most vectors a text has.
    """

    modality = "text"
    batch_size = 1024

    def __init__(
        self,
        title: str,
        tower: Any,
        tokenizer: Any,
        facts: dict[str, Any],
        settings: Settings,
        output: str,
        max_tokens: int,
    ) -> None:
        self.max_tokens = max_tokens
        self._tokens = _tokenizing(tokenizer)
        self._end = _end_of(tower)
        self._runtime = Runtime(tower, settings, _forward(tower, output))
        self.on_gpu = self._runtime.devices[0].type != "cpu"
        self.budget = tokens_a_batch(on_gpu=self.on_gpu)
        self._identity = {
            **facts,
            "modality": "text",
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            "preprocessing": _rules(tokenizer),
        }
        with one_line(title):
            self.dim = int(self.encode([self.decode(b"a")])[0].shape[-1])

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> list[int]:
        """Token ids, up to the end token where the tower allows it."""
        ids = self._tokens(text_of(data))
        return ids if self._end is None else ids[: self._end(ids) + 1]

    def length(self, item: Any) -> int:
        return len(item)

    def encode(self, batch: Sequence[list[int]]) -> np.ndarray | list[np.ndarray]:
        if not batch:
            return [] if self.max_tokens else np.zeros((0, self.dim), np.float32)
        ids, mask = padded(batch)
        features = self._runtime.run({"ids": ids})
        return ragged(features, mask, self.max_tokens) if self.max_tokens else features.numpy()


def cut_tower(title: str, model: Any, output: str) -> Any:
    """The text tower, without the picture's half.

    Raises:
        MmfeatError: it does not give that output.
    """
    tower = getattr(model, "text", model)
    if tower is model:
        del model.visual  # its text tower lies open in the model
    if output == "tokens" and _end_of(tower) is None:
        raise MmfeatError(
            f"{title} has no output tokens: only causal text towers of open_clip itself have",
            cure="There are: projected, pooled",
        )
    if output == "pooled" and _end_of(tower) is None:
        if not isinstance(getattr(tower, "proj", None), nn.Module):
            raise MmfeatError(f"{title} has no output pooled", cure="There is: projected")
        tower.proj = nn.Identity()
    return tower


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))


def _end_of(tower: Any) -> Callable[[list[int]], int] | None:
    """Where a text's end token stands; None for towers that must be given the whole length."""
    causal = getattr(tower, "attn_mask", None) is not None
    plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
    if not causal or not plain:
        return None
    if _pool_type(tower) == "argmax":
        return lambda ids: ids.index(max(ids))
    end = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    if _pool_type(tower) == "eos" and end is not None:
        return lambda ids: ids.index(end) if end in ids else len(ids) - 1
    return None


def _forward(tower: Any, output: str) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    if _end_of(tower) is not None:
        return lambda module, inputs: _short(module, inputs["ids"], output)
    name = "encode_text" if hasattr(tower, "encode_text") else "forward"

    def whole(module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        found = getattr(module, name)(inputs["ids"])
        vectors: Tensor = found[0] if isinstance(found, tuple) else found
        return vectors

    return whole


def _short(tower: Any, ids: Tensor, output: str) -> Tensor:
    """`encode_text` of a causal tower for texts shorter than its context.

    Args:
        tower: a `CLIP` or a `TextTransformer` of open_clip.
        ids: shape [batch, tokens], zeros behind the end token.
        output: which states to give.

    Returns:
        Shape [batch, dim]; of tokens [batch, tokens, dim].
    """
    from open_clip.transformer import text_global_pool

    length = ids.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    states = tower.token_embedding(ids).to(dtype) + tower.positional_embedding[:length].to(dtype)
    states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
    states = tower.ln_final(states)
    if output == "tokens":
        return states
    end = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    pooled: Tensor = text_global_pool(states, ids, _pool_type(tower), eos_token_id=end)
    projection = tower.text_projection
    if output == "pooled" or projection is None:
        return pooled
    if isinstance(projection, nn.Linear):
        projected: Tensor = projection(pooled)
        return projected
    return pooled @ projection


def _tokenizing(tokenizer: Any) -> Callable[[str], list[int]]:
    """A function from a text to ids of the whole length that threads can share."""
    lock = threading.Lock()

    def tokens(text: str) -> list[int]:
        # A fast tokenizer of transformers refuses a second thread: "Already borrowed".
        with lock:
            ids: list[int] = tokenizer([text])[0].tolist()
        return ids

    return tokens


def _rules(tokenizer: Any) -> dict[str, Any]:
    """The tokenizer as data."""
    inner = getattr(tokenizer, "tokenizer", None)
    words = inner.get_vocab() if inner is not None else tokenizer.encoder
    text = json.dumps(words, sort_keys=True)
    return {
        "tokenizer": type(tokenizer).__name__,
        "context_length": tokenizer.context_length,
        "vocabulary": hashlib.sha256(text.encode()).hexdigest(),
    }
