"""The scheme `st:`: models of sentence-transformers, from the hub or from a directory."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import one_line, tokens_a_batch
from mmfeat.encoders.options import Options, require
from mmfeat.encoders.preprocessing import padded, text_of
from mmfeat.encoders.runtime import Runtime, versions, weights_digest
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

_PLACES = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Entries of a config.json that say nothing about the values."""


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`st:NAME` or `st:NAME@REVISION`; NAME is a name on the hub or a directory.

    Option: `prompt`, the name of one of the model's prompts, put before each text; its default is
    the model's own.

    Raises:
        MmfeatError: no such model, not a model of texts, no such prompt.
    """
    if modality != "text":
        raise MmfeatError(f"st:{name} encodes text", got=modality)
    library = require("sentence_transformers", "st")
    source, revision = _split(name)
    title = f"st:{name}"
    with one_line(title):
        model = library.SentenceTransformer(
            source,
            device="cpu",
            revision=revision,
            trust_remote_code=settings.trust_remote_code,
            model_kwargs={"use_safetensors": True},
        )
    facts: dict[str, Any] = {"scheme": "st", "weights": weights_digest(model)}
    if not Path(source).is_dir():
        commit = getattr(_config(model), "_commit_hash", None)
        facts |= {"name": source, "revision": commit or revision}
    return SentenceText(title, model, facts, options, settings)


class SentenceText(Encoder):
    """A text's vector, through all modules of the model: transformer, pooling, and what follows.

    Args:
        title: `st:NAME`, for messages.
        model: a `SentenceTransformer`.
        facts: its share of the identity.
        options: `prompt` is read here.
        settings: how it runs.
    """

    modality = "text"
    batch_size = 1024

    def __init__(
        self, title: str, model: Any, facts: dict[str, Any], options: Options, settings: Settings
    ) -> None:
        prompts = {name: text for name, text in (model.prompts or {}).items() if text}
        default = model.default_prompt_name
        prompt = options.text("prompt", default if default in prompts else "", ("", *prompts))
        self._prompt = prompts.get(prompt, "")
        if self._prompt and any(not getattr(part, "include_prompt", True) for part in model):
            raise MmfeatError(
                f"{title} leaves its prompt out of the pooling, which cannot be done here",
                got=prompt,
            )
        tokenizer = getattr(model[0], "tokenizer", None)
        if tokenizer is None or not hasattr(tokenizer, "pad_token_id"):
            raise MmfeatError(f"{title} must read texts by a tokenizer of transformers")
        self._pad = tokenizer.pad_token_id or 0
        self._tokens, rules = _tokenizing(tokenizer, model.max_seq_length)
        self._identity = {
            **facts,
            "modality": "text",
            "output": "pooled",
            "max_tokens": 0,
            "precision": settings.precision,
            "preprocessing": {**rules, "prompt": self._prompt},
            "modules": _modules(model),
            "versions": versions("transformers", "sentence-transformers"),
        }
        self._runtime = Runtime(model, settings, _forward)
        self.on_gpu = self._runtime.devices[0].type != "cpu"
        self.budget = tokens_a_batch(on_gpu=self.on_gpu)
        with one_line(title):
            self.dim = int(self.encode([self._tokens("a")]).shape[1])

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> list[int]:
        """Token ids, cut to what the model reads."""
        return self._tokens(self._prompt + text_of(data).strip())

    def length(self, item: Any) -> int:
        return len(item)

    def encode(self, batch: Sequence[list[int]]) -> np.ndarray:
        if not batch:
            return np.zeros((0, self.dim), np.float32)
        ids, mask = padded(batch, self._pad)
        return self._runtime.run({"input_ids": ids, "attention_mask": mask}).numpy()


def _forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    found: Tensor = model(dict(inputs))["sentence_embedding"]
    return found


def _tokenizing(
    tokenizer: Any, max_length: int | None
) -> tuple[Callable[[str], list[int]], dict[str, Any]]:
    """A function from a text to its ids that threads can share, and its rules as data.

    A fast tokenizer sets its own truncation at each call, which another thread's call runs into;
    a copy that is set once has none of that.
    """
    bound = max_length if max_length and max_length < 1 << 20 else None
    if not getattr(tokenizer, "is_fast", False):
        lock = threading.Lock()

        def slow(text: str) -> list[int]:
            with lock:
                found = tokenizer(text, truncation=bound is not None, max_length=bound)
            return list(found["input_ids"])

        vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True)
        return slow, {"max_length": bound, "tokenizer": _sha256(vocabulary)}
    tokens = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    tokens.no_padding()
    tokens.no_truncation()
    if bound is not None:
        tokens.enable_truncation(bound)

    def fast(text: str) -> list[int]:
        return list(tokens.encode(text).ids)

    return fast, {"max_length": bound, "tokenizer": _sha256(tokens.to_str())}


def _modules(model: Any) -> list[dict[str, Any]]:
    """What the model is made of, beside its weights: two with other pooling differ."""
    config = _config(model)
    known = config.to_diff_dict() if config is not None else {}
    text = json.dumps({k: v for k, v in known.items() if k not in _PLACES}, sort_keys=True)
    first: dict[str, Any] = {"type": type(model[0]).__name__, "config": _sha256(text)}
    rest = [
        {"type": type(part).__name__, "config": json.loads(json.dumps(_settings(part)))}
        for part in list(model)[1:]
    ]
    return [first, *rest]


def _settings(part: Any) -> dict[str, Any]:
    get = getattr(part, "get_config_dict", None)
    return dict(get()) if get else {}


def _config(model: Any) -> Any:
    """The config.json of the model's transformer, None where there is none."""
    return getattr(getattr(model[0], "auto_model", None), "config", None)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _split(name: str) -> tuple[str, str | None]:
    """Name and revision; a directory may have an @ in its path.

    Raises:
        MmfeatError: what can only be a directory is none.
    """
    if Path(name).is_dir():
        return name, None
    source, _, revision = name.partition("@")
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise MmfeatError("st: must name a model on the hub or a directory", got=name)
    return source, revision or None
