"""Encoders of texts by transformers: BERT-like models, and the text towers of CLIP and SigLIP."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.hf.checkpoint import Checkpoint, find_tower, project
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.neural.text_encoder import (
    TextEncoder,
    TextInputs,
    mean_pool,
    thread_safe_tokenizer,
)
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.store import json_digest

MAX_CHARS = 1 << 17
"""Characters that are tokenized. Models read a few thousand at most."""

DEFAULT_LIMIT = 512
"""Maximum number of tokens if neither tokenizer nor model has a limit."""


class HfText(TextEncoder):
    """One vector per text, or one per token.

    Outputs: `projected`; `pooled`, the pooled state of a text tower, else by the option `pooling`
    the mean over tokens, the vector of the first token, or the model's pooler; `tokens`, the first
    `max_tokens` rows of the last hidden state.
    """

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions, settings: Settings) -> None:
        output, max_tokens = options.get_output(checkpoint.outputs)
        tokenizer = checkpoint.load_processor("AutoTokenizer")
        self.limit = _max_length(checkpoint.model, tokenizer)
        tokenize = thread_safe_tokenizer(tokenizer, self.limit)
        # SigLIP has no mask. It was trained with padding to the limit, and reads the padding.
        is_siglip = checkpoint.model.config.model_type.startswith("siglip")
        pooling = "model"
        if output == "pooled" and not checkpoint.projected:
            pooling = options.get_text("pooling", "mean", ("mean", "cls", "pooler"))
        if pooling == "pooler" and getattr(checkpoint.model, "pooler", None) is None:
            raise MmfeatError(f"{checkpoint.title} has no pooler", got="pooling=pooler")

        def tokenize_start(text: str) -> list[int]:
            ids = tokenize(text[:MAX_CHARS])
            if not ids:
                raise RecordError("empty", "the text has no tokens")
            return ids

        identity = checkpoint.identity(
            "text",
            output,
            max_tokens,
            settings,
            pooling=pooling,
            tokenizer=_hash_tokenizer(tokenizer),
            limit=self.limit,
            max_chars=MAX_CHARS,
        )
        forward = partial(_forward, output, pooling, not is_siglip)
        super().__init__(
            TextInputs(
                tokenize_start,
                padding=tokenizer.pad_token_id or 0,
                pad_to=self.limit if is_siglip else None,
            ),
            Runtime(checkpoint.model, settings, forward),
            identity,
            max_tokens=max_tokens,
        )


def _forward(
    output: str, pooling: str, has_mask: bool, model: nn.Module, inputs: dict[str, Tensor]
) -> Tensor:
    batch = {"input_ids": inputs["ids"]}
    if has_mask:
        batch["attention_mask"] = inputs["mask"]
    if output == "projected":
        return project(model, "text", **batch)
    result = find_tower(model, "text")(**batch)
    if output == "tokens":
        return result.last_hidden_state
    if pooling in ("model", "pooler"):
        return result.pooler_output
    if pooling == "cls":
        return result.last_hidden_state[:, 0]
    return mean_pool(result.last_hidden_state, inputs["mask"])


def _max_length(model: Any, tokenizer: Any) -> int:
    """Return the maximum number of tokens that tokenizer and model accept."""
    config = getattr(model.config, "text_config", model.config)
    positions = getattr(config, "max_position_embeddings", None) or DEFAULT_LIMIT
    for name, module in model.named_modules():
        # RoBERTa numbers its positions from the id after the padding.
        padding_idx = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding_idx is not None:
            positions = module.num_embeddings - padding_idx - 1
    return int(min(positions, tokenizer.model_max_length))


def _hash_tokenizer(tokenizer: Any) -> str:
    """Hash vocabulary and rules: two tokenizers may exist for the same weights."""
    if tokenizer.is_fast:
        return json_digest(tokenizer.backend_tokenizer.to_str())
    return json_digest([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
