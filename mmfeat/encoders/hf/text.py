"""Encoders of texts by transformers: BERT-like models, and the text towers of CLIP and SigLIP."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.hf.encoder import HfEncoder, find_tower, project
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.encoders.tokens import (
    decode_text,
    mean_pool,
    pad_token_ids,
    thread_safe_tokenizer,
    unpad_tokens,
)
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.store.directory import json_digest

MAX_CHARS = 1 << 17
"""Characters that are tokenized. Models read a few thousand at most."""

DEFAULT_LIMIT = 512
"""Maximum number of tokens if neither tokenizer nor model has a limit."""


class HfText(HfEncoder):
    """One vector per text, or one per token.

    Outputs: `projected`; `pooled`, the pooled state of a text tower, else by the option `pooling`
    the mean over tokens, the vector of the first token, or the model's pooler; `tokens`, the first
    `max_tokens` rows of the last hidden state.
    """

    modality = "text"
    batch_size = 256
    budget = 16_384

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions, settings: Settings) -> None:
        super().__init__(checkpoint, options, settings)
        tokenizer = checkpoint.load_processor("AutoTokenizer")
        self.limit = _max_length(checkpoint.model, tokenizer)
        self._tokenize = thread_safe_tokenizer(tokenizer, self.limit)
        self._padding = tokenizer.pad_token_id or 0
        # SigLIP has no mask. It was trained with padding to the limit, and reads the padding.
        self._pads_to_limit = checkpoint.model.config.model_type.startswith("siglip")
        self.pooling = "model"
        if self.output == "pooled" and not checkpoint.projected:
            self.pooling = options.get_text("pooling", "mean", ("mean", "cls", "pooler"))
        if self.pooling == "pooler" and getattr(checkpoint.model, "pooler", None) is None:
            raise MmfeatError(f"{checkpoint.title} has no pooler", got="pooling=pooler")
        self.finish(
            settings,
            sample=self._tokenize("a"),
            pooling=self.pooling,
            tokenizer=_hash_tokenizer(tokenizer),
            limit=self.limit,
            max_chars=MAX_CHARS,
        )

    def decode(self, data: bytes) -> list[int]:
        """Tokenize a text, truncated to what the model reads.

        Raises:
            RecordError: `undecodable` if not UTF-8, `empty` if blank.
        """
        ids = self._tokenize(decode_text(data)[:MAX_CHARS])
        if not ids:
            raise RecordError("empty", "the text has no tokens")
        return ids

    def length(self, item: Sequence[int]) -> int:
        """Return the number of tokens."""
        return self.limit if self._pads_to_limit else len(item)

    def encode(self, batch: Sequence[Sequence[int]]) -> np.ndarray | list[np.ndarray]:
        ids, mask = pad_token_ids(batch, self._padding)
        if self._pads_to_limit:
            padding = (0, self.limit - ids.shape[1])
            ids = nn.functional.pad(ids, padding, value=self._padding)
            mask = nn.functional.pad(mask, padding)
            features = self.runtime.run({"input_ids": ids})
        else:
            features = self.runtime.run({"input_ids": ids, "attention_mask": mask})
        if self.max_tokens:
            return unpad_tokens(features, mask, self.max_tokens)
        return features.numpy()

    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if self.output == "projected":
            return project(model, "text", **inputs)
        result = find_tower(model, "text")(**inputs)
        if self.output == "tokens":
            return result.last_hidden_state
        if self.pooling in ("model", "pooler"):
            return result.pooler_output
        if self.pooling == "cls":
            return result.last_hidden_state[:, 0]
        return mean_pool(result.last_hidden_state, inputs["attention_mask"])


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
