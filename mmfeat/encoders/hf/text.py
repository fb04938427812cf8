"""Texts through a text model of transformers: BERT and its kin, the towers of CLIP and SigLIP."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmfeat.encoders.hf.base import HfEncoder, projection, tower
from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import mean_pooled, padded, ragged, text_of
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.store.directory import digest

MAX_CHARS = 1 << 17
"""What is behind it is not tokenised: a model sees a few thousand characters."""

DEFAULT_LIMIT = 512
"""Tokens of a text where neither tokenizer nor model has a bound."""


class HfText(HfEncoder):
    """A text's vector, or those of its tokens.

    Outputs: `projected`; `pooled`, of a text tower its pooled state, else as `pooling` says the
    mean over tokens, the vector of the first, or the model's pooler; `tokens`, the first
    `max_tokens` rows of the last hidden state.
    """

    modality = "text"
    batch_size = 256
    budget = 16_384

    def __init__(self, checkpoint: Checkpoint, options: Options, settings: Settings) -> None:
        super().__init__(checkpoint, options, settings)
        tokenizer = checkpoint.part("AutoTokenizer")
        self.limit = _limit(checkpoint.model, tokenizer)
        self._tokenize = _thread_safe(tokenizer, self.limit)
        self._padding = tokenizer.pad_token_id or 0
        # SigLIP has no mask: it reads the padding, and in training there was always as much.
        self._to_limit = checkpoint.model.config.model_type.startswith("siglip")
        self.pooling = "model"
        if self.output == "pooled" and not checkpoint.projected:
            self.pooling = options.text("pooling", "mean", ("mean", "cls", "pooler"))
        if self.pooling == "pooler" and getattr(checkpoint.model, "pooler", None) is None:
            raise MmfeatError(f"{checkpoint.title} has no pooler", got="pooling=pooler")
        self.dim = self.measure(self._tokenize("a"))
        self._identity = self.facts(
            settings,
            pooling=self.pooling,
            tokenizer=_tokenizer_digest(tokenizer),
            limit=self.limit,
            max_chars=MAX_CHARS,
        )

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> list[int]:
        """Token ids, cut to what the model reads.

        Raises:
            RecordError: not UTF-8, or blank.
        """
        ids = self._tokenize(text_of(data)[:MAX_CHARS])
        if not ids:
            raise RecordError("empty", "the text has no tokens")
        return ids

    def length(self, item: Sequence[int]) -> int:
        """Tokens."""
        return self.limit if self._to_limit else len(item)

    def encode(self, batch: Sequence[Sequence[int]]) -> np.ndarray | list[np.ndarray]:
        ids, mask = padded(batch, self._padding)
        if self._to_limit:
            more = (0, self.limit - ids.shape[1])
            ids = nn.functional.pad(ids, more, value=self._padding)
            mask = nn.functional.pad(mask, more)
        inputs = (
            {"input_ids": ids} if self._to_limit else {"input_ids": ids, "attention_mask": mask}
        )
        features = self.runtime.run(inputs)
        return ragged(features, mask, self.max_tokens) if self.max_tokens else features.numpy()

    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if self.output == "projected":
            return projection(model, "text", **inputs)
        found = tower(model, "text")(**inputs)
        if self.output == "tokens":
            return found.last_hidden_state
        if self.pooling in ("model", "pooler"):
            return found.pooler_output
        if self.pooling == "cls":
            return found.last_hidden_state[:, 0]
        return mean_pooled(found.last_hidden_state, inputs["attention_mask"])


def _limit(model: Any, tokenizer: Any) -> int:
    """The most tokens that tokenizer and model take."""
    config = getattr(model.config, "text_config", model.config)
    positions = getattr(config, "max_position_embeddings", None) or DEFAULT_LIMIT
    for name, module in model.named_modules():
        # RoBERTa counts its positions from behind the padding's id.
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            positions = module.num_embeddings - module.padding_idx - 1
    return int(min(positions, tokenizer.model_max_length))


def _thread_safe(tokenizer: Any, limit: int) -> Callable[[str], list[int]]:
    """Tokenises one text, with the tokens that stand around it, cut to the limit.

    A fast tokenizer sets its truncation anew with every call, which fails where another thread is
    reading; here it is set once. A slow one is used by one thread at a time.
    """
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(limit)
        return lambda text: backend.encode(text).ids
    lock = Lock()

    def tokenize(text: str) -> list[int]:
        with lock:
            ids: list[int] = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
            return ids

    return tokenize


def _tokenizer_digest(tokenizer: Any) -> str:
    """Stands for the vocabulary and the rules; two tokenizers may go with the same weights."""
    if tokenizer.is_fast:
        return digest(tokenizer.backend_tokenizer.to_str())
    return digest([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
