"""The scheme `st:`: models of sentence-transformers, from the hub or a directory."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.loading import (
    check_weight_files,
    hash_weights,
    import_optional,
    loading_errors,
    package_versions,
    split_revision,
)
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.neural.text_encoder import TextEncoder, TextInputs, thread_safe_tokenizer
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError

_IRRELEVANT = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Entries of a config.json that do not change feature values."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `st:NAME` or `st:NAME@REVISION`. NAME is a name on the hub or a directory.

    Option: `prompt`, the name of one of the model's prompts, put before each text. The default is
    the default prompt of the model.

    Raises:
        MmfeatError: no such model or prompt, or not a text model.
    """
    title = f"st:{name}"
    check_modality(title, ["text"], modality)
    library = import_optional("sentence_transformers", "sentence-transformers")
    source, revision = split_revision("st", name)
    check_weight_files(title, source)
    with loading_errors(title):
        model = library.SentenceTransformer(
            source,
            device="cpu",
            revision=revision,
            trust_remote_code=settings.trust_remote_code,
            model_kwargs={"use_safetensors": True},
        )
    facts: dict[str, Any] = {"scheme": "st", "weights": hash_weights(model)}
    if not Path(source).is_dir():
        commit = getattr(_transformer_config(model), "_commit_hash", None)
        facts |= {"name": source, "revision": commit or revision}
    return SentenceEncoder(title, model, facts, options, settings)


class SentenceEncoder(TextEncoder):
    """One vector per text, from all modules of the model: transformer, pooling, and the rest.

    Args:
        title: `st:NAME`, for error messages.
        model: a `SentenceTransformer`.
        facts: first part of the identity.
        options: `prompt` is read here.
        settings: settings of the command.
    """

    def __init__(
        self,
        title: str,
        model: Any,
        facts: dict[str, Any],
        options: EncoderOptions,
        settings: Settings,
    ) -> None:
        prompts = {name: text for name, text in (model.prompts or {}).items() if text}
        default = model.default_prompt_name
        name = options.get_text("prompt", default if default in prompts else "", ("", *prompts))
        prompt = prompts.get(name, "")
        if prompt and any(not getattr(part, "include_prompt", True) for part in model):
            raise MmfeatError(
                f"{title} must include its prompt in the pooling; other models are not supported",
                got=name,
            )
        tokenizer = getattr(model[0], "tokenizer", None)
        if tokenizer is None or not hasattr(tokenizer, "pad_token_id"):
            raise MmfeatError(f"{title} must have a tokenizer of transformers")
        length = model.max_seq_length
        limit = length if length and length < 1 << 20 else None
        tokenize = thread_safe_tokenizer(tokenizer, limit)
        identity = {
            **facts,
            "modality": "text",
            "output": "pooled",
            "max_tokens": 0,
            "precision": settings.precision,
            "preprocessing": {
                "max_length": limit,
                "tokenizer": _hash_tokenizer(tokenizer),
                "prompt": prompt,
            },
            "modules": _describe_modules(model),
            "versions": package_versions("transformers", "sentence-transformers"),
        }
        runtime = Runtime(model, settings, _forward)
        with loading_errors(title):
            super().__init__(
                TextInputs(
                    lambda text: tokenize(prompt + text.strip()), tokenizer.pad_token_id or 0
                ),
                runtime,
                identity,
            )


def _forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    batch = {"input_ids": inputs["ids"], "attention_mask": inputs["mask"]}
    features: Tensor = model(batch)["sentence_embedding"]
    return features


def _hash_tokenizer(tokenizer: Any) -> str:
    """Hash the vocabulary, and the rules if they are data (fast tokenizers)."""
    if getattr(tokenizer, "is_fast", False):
        return _sha256(tokenizer.backend_tokenizer.to_str())
    return _sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True))


def _describe_modules(model: Any) -> list[dict[str, Any]]:
    """Return the configuration of each module: models may differ in nothing but the pooling."""
    config = _transformer_config(model)
    values = config.to_diff_dict() if config is not None else {}
    relevant = {name: value for name, value in values.items() if name not in _IRRELEVANT}
    text = json.dumps(relevant, sort_keys=True)
    first: dict[str, Any] = {"type": type(model[0]).__name__, "config": _sha256(text)}
    rest = [
        {"type": type(part).__name__, "config": json.loads(json.dumps(_module_config(part)))}
        for part in list(model)[1:]
    ]
    return [first, *rest]


def _module_config(part: Any) -> dict[str, Any]:
    get = getattr(part, "get_config_dict", None)
    return dict(get()) if get else {}


def _transformer_config(model: Any) -> Any:
    """Return the config.json of the transformer, or None."""
    return getattr(getattr(model[0], "auto_model", None), "config", None)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
