"""A frozen causal language model of transformers as decoder, steered by its prefix.

Prefix tuning with the language model frozen: Li and Liang 2021 (arXiv:2101.00190); a prefix from
the features of a picture: Tsimpoukelli et al. 2021 (arXiv:2106.13884), Mokady et al. 2021 (ClipCap,
arXiv:2111.09734).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.models.decoder.transformer import Context

_FORBIDDEN = ("auto_map", "quantization_config")
_MAX_LAYERS, _MAX_SIZE = 1024, 1 << 24


class LanguageModelState:
    """The cache of transformers for a batch while its texts grow."""

    def __init__(self, past: Any) -> None:
        self.past = past

    def select(self, rows: Tensor) -> None:
        """Keep some rows, in a new order: int64, shape [batch]."""
        self.past.reorder_cache(rows)


class LanguageModel(nn.Module):
    """The language model; its weights get no gradient, and no dropout. It attends to the prefix.

    Token columns are pooled by the fusion: a frozen language model has no cross-attention.

    Args:
        config: its configuration, as `PretrainedConfig.to_dict`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.language_model = build_language_model(config)
        self.language_model.requires_grad_(False)
        # Tied weights are one tensor under two names, which safetensors does not allow.
        self._register_state_dict_hook(_copy_shared)

    def train(self, mode: bool = True) -> "LanguageModel":
        """Stay in eval mode: a frozen model has no dropout."""
        return super().train(False)

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """See `Transformer.forward`."""
        embedded = self.language_model.get_input_embeddings()(tokens)
        prefix = context.prefix.to(embedded.dtype)
        inputs = torch.cat([prefix, embedded], dim=1)
        logits: Tensor = self.language_model(inputs_embeds=inputs, use_cache=False).logits
        return logits[:, prefix.shape[1] :]

    def start(self, context: Context) -> LanguageModelState:
        """See `Transformer.start`."""
        output = self.language_model(inputs_embeds=context.prefix, use_cache=True)
        return LanguageModelState(output.past_key_values)

    def step(self, tokens: Tensor, state: LanguageModelState) -> Tensor:
        """See `Transformer.step`."""
        embedded = self.language_model.get_input_embeddings()(tokens[:, None])
        past = {_cache_name(): state.past}
        output = self.language_model(inputs_embeds=embedded, use_cache=True, **past)
        state.past = output.past_key_values
        logits: Tensor = output.logits[:, -1]
        return logits


@cache
def _cache_name() -> str:
    """Return the argument that takes the cache; transformers has renamed it."""
    from transformers.utils import generic

    return "cache" if hasattr(generic, "_rename_kwargs_for_bc") else "past_key_values"


def _check_config(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that names code or that builds endless layers."""
    for name, value in config.items():
        if name in _FORBIDDEN:
            raise ValueError(f"{name} is not allowed")
        is_count = isinstance(value, int) and not isinstance(value, bool)
        if is_count and not -_MAX_SIZE <= value <= (_MAX_LAYERS if "layer" in name else _MAX_SIZE):
            raise ValueError(f"{name} is {value}")
        if isinstance(value, Mapping):
            _check_config(value)


def _copy_shared(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Replace tensors that share memory with an earlier one by copies."""
    seen: set[int] = set()
    for name, value in state.items():
        if name.startswith(prefix) and isinstance(value, Tensor) and value.numel():
            if value.data_ptr() in seen:
                state[name] = value.clone()
            seen.add(value.data_ptr())


def build_language_model(config: Mapping[str, Any]) -> Any:
    """Return a language model with initial weights, in float32.

    No code from outside of transformers is run.

    Raises:
        MmfeatError: transformers is not installed.
        DamagedFileError: the configuration is none of a causal language model.
    """
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as error:
        raise MmfeatError(
            "a decoder hf:… needs the package transformers", cure="pip install transformers"
        ) from error
    try:
        values = dict(config)
        _check_config(values)
        kind = values.pop("model_type")
        parsed = AutoConfig.for_model(kind, **values)
        model = AutoModelForCausalLM.from_config(
            parsed, trust_remote_code=False, attn_implementation="sdpa"
        ).float()
    except (KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise DamagedFileError(
            "the language model of a decoder must be a causal one of transformers",
            got=f"{type(error).__name__}: {str(error)[:200]}",
        ) from error
    return model
