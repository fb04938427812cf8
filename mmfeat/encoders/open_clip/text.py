"""The text tower of a CLIP model."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.neural.loading import loading_errors
from mmfeat.encoders.neural.runtime import Forward, Runtime
from mmfeat.encoders.neural.text_encoder import TextEncoder, TextInputs, one_thread_at_a_time
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


class OpenClipText(TextEncoder):
    """One vector per text, or one per token.

    A causal tower that pools the end token ignores everything after it. A text therefore ends
    there, and a batch is as long as its longest text. Other towers read the full context length.

    Args:
        title: the encoder as the user wrote it, for error messages.
        tower: result of `extract_text_tower`.
        tokenizer: a tokenizer of open_clip.
        facts: first part of the identity.
        settings: settings of the command.
        output: `projected`, `pooled` or `tokens`.
        max_tokens: maximum number of vectors per text. 0 = exactly one vector.
    """

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
        # A fast tokenizer of transformers fails in a second thread: "Already borrowed".
        tokenize = one_thread_at_a_time(lambda text: tokenizer([text])[0].tolist())
        find_end = _end_finder(tower)

        def tokenize_to_end(text: str) -> list[int]:
            ids = tokenize(text)
            return ids if find_end is None else ids[: find_end(ids) + 1]

        identity = {
            **facts,
            "modality": "text",
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            "preprocessing": _tokenizer_facts(tokenizer),
        }
        runtime = Runtime(tower, settings, _text_forward(tower, output))
        with loading_errors(title):
            super().__init__(
                TextInputs(tokenize_to_end, pad_to=None if find_end else tokenizer.context_length),
                runtime,
                identity,
                max_tokens=max_tokens,
            )


def extract_text_tower(title: str, model: Any, output: str) -> Any:
    """Return the text tower of a model, prepared for an output.

    Raises:
        MmfeatError: the tower does not have that output.
    """
    tower = getattr(model, "text", model)
    if tower is model:
        del model.visual  # the layers of the text tower are attributes of the model
    if output == "tokens" and _end_finder(tower) is None:
        raise MmfeatError(
            f"{title} has no output tokens: only causal text towers of open_clip have it",
            cure="Use output=projected or output=pooled",
        )
    if output == "pooled" and _end_finder(tower) is None:
        if not isinstance(getattr(tower, "proj", None), nn.Module):
            raise MmfeatError(f"{title} has no output pooled", cure="Use output=projected")
        tower.proj = nn.Identity()
    return tower


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))


def _end_token(tower: Any) -> int | None:
    return getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))


def _end_finder(tower: Any) -> Callable[[list[int]], int] | None:
    """Return a function that finds the end token, or None if the tower reads the full context."""
    is_causal = getattr(tower, "attn_mask", None) is not None
    is_plain = getattr(tower, "cls_emb", None) is None and not getattr(tower, "use_pad_mask", False)
    if not is_causal or not is_plain:
        return None
    if _pool_type(tower) == "argmax":
        return lambda ids: ids.index(max(ids))
    end = _end_token(tower)
    if _pool_type(tower) == "eos" and end is not None:
        return lambda ids: ids.index(end) if end in ids else len(ids) - 1
    return None


def _text_forward(tower: Any, output: str) -> Forward:
    """Return a function that computes an output of the tower."""
    if _end_finder(tower) is not None:
        return lambda module, inputs: _causal_features(module, inputs["ids"], output)
    method = "encode_text" if hasattr(tower, "encode_text") else "forward"

    def forward(module: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        result = getattr(module, method)(inputs["ids"])
        features: Tensor = result[0] if isinstance(result, tuple) else result
        return features

    return forward


def _causal_features(tower: Any, ids: Tensor, output: str) -> Tensor:
    """Do what `encode_text` does, for texts shorter than the context.

    Args:
        tower: a `CLIP` or `TextTransformer` of open_clip.
        ids: token ids, shape [batch, tokens], zeros after the end token.
        output: `projected`, `pooled` or `tokens`.

    Returns:
        Shape [batch, dim], or [batch, tokens, dim] for `tokens`.
    """
    from open_clip.transformer import text_global_pool

    length = ids.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    states = tower.token_embedding(ids).to(dtype) + tower.positional_embedding[:length].to(dtype)
    states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
    states = tower.ln_final(states)
    if output == "tokens":
        return states
    pooled: Tensor = text_global_pool(
        states, ids, _pool_type(tower), eos_token_id=_end_token(tower)
    )
    projection = tower.text_projection
    if output == "pooled" or projection is None:
        return pooled
    if isinstance(projection, nn.Linear):
        projected: Tensor = projection(pooled)
        return projected
    return pooled @ projection


def _tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """Identify the tokenizer."""
    backend = getattr(tokenizer, "tokenizer", None)
    vocabulary = backend.get_vocab() if backend is not None else tokenizer.encoder
    text = json.dumps(vocabulary, sort_keys=True)
    return {
        "tokenizer": type(tokenizer).__name__,
        "context_length": tokenizer.context_length,
        "vocabulary": hashlib.sha256(text.encode()).hexdigest(),
    }
