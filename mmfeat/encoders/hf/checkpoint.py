"""Checkpoints of transformers. All weights come from safetensors, none are random."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from torch import Tensor, nn

from mmfeat.encoders.neural.loading import (
    check_weight_files,
    hash_weights,
    import_optional,
    loading_errors,
    package_versions,
    split_revision,
)
from mmfeat.encoders.settings import Settings, check_modality
from mmfeat.errors import MmfeatError
from mmfeat.store import json_digest

PROJECTIONS = {
    "image": "get_image_features",
    "text": "get_text_features",
    "audio": "get_audio_features",
}
"""Modality → method of two-tower models that projects into the shared space."""

TOWERS = {
    "image": ("vision_", "visual_"),
    "text": ("text_",),
    "audio": ("audio_",),
}
"""Modality → prefixes of the names of a tower's submodules."""

_INPUTS = {
    "pixel_values": "image",
    "input_ids": "text",
    "input_values": "audio",
    "input_features": "audio",
}
"""Main input of a one-tower model → modality."""

_IRRELEVANT = ("transformers_version", "dtype", "torch_dtype")
"""Entries of a config.json that do not change feature values."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with its weights, reduced to one modality.

    Attributes:
        title: `hf:NAME`, for error messages.
        model: in the type its weights are stored in.
        projected: True if the model has a space shared with another modality.
        facts: first part of an encoder's identity. Copies of a checkpoint have the same facts.
    """

    title: str
    model: Any
    projected: bool
    facts: dict[str, Any]
    _transformers: ModuleType
    _source: str
    _arguments: dict[str, Any]

    @classmethod
    def load(cls, name: str, modality: str, settings: Settings) -> Self:
        """Load a model from safetensors files.

        Raises:
            MmfeatError: no such checkpoint, missing weights, or not a model of this modality.
        """
        transformers = import_optional("transformers", "transformers")
        title = f"hf:{name}"
        source, revision = split_revision("hf", name)
        arguments: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
        origin: dict[str, Any] = {}
        if not Path(source).is_dir():
            with loading_errors(title):
                arguments["revision"] = _resolve_commit(transformers, source, revision or "main")
            origin = {"name": source, "revision": arguments["revision"]}
        check_weight_files(title, source)
        dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        with _silence(transformers), loading_errors(title):
            model, report = transformers.AutoModel.from_pretrained(
                source,
                use_safetensors=True,
                output_loading_info=True,
                **{dtype: "auto"},
                **arguments,
            )
        _check_modality(title, model, modality)
        random_weights = _find_random_weights(title, model, report)
        projected = hasattr(model, PROJECTIONS[modality])
        if projected:
            _drop_other_towers(model, modality)
        elif getattr(model.config, "is_encoder_decoder", False):
            model = model.get_encoder()
        _drop_random_weights(title, model, random_weights)
        facts = {
            "scheme": "hf",
            **origin,
            "weights": hash_weights(model),
            "config": json_digest(_relevant_values(model.config.to_dict())),
        }
        return cls(title, model, projected, facts, transformers, source, arguments)

    def identity(
        self, modality: str, output: str, max_tokens: int, settings: Settings, **facts: Any
    ) -> dict[str, Any]:
        """Return the identity of an encoder, with the facts that only its modality has."""
        return {
            **self.facts,
            "modality": modality,
            "output": output,
            "max_tokens": max_tokens,
            "precision": settings.precision,
            **facts,
            "versions": package_versions("transformers"),
        }

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values of the option `output`, the default first."""
        return (*(("projected",) if self.projected else ()), "pooled", "tokens")

    def load_processor(self, auto_class: str) -> Any:
        """Load the tokenizer, image processor or feature extractor of the checkpoint.

        Args:
            auto_class: a class of transformers, such as `AutoTokenizer`.
        """
        with _silence(self._transformers):
            loader = getattr(self._transformers, auto_class)
            return loader.from_pretrained(self._source, **self._arguments)


def find_tower(model: nn.Module, modality: str) -> Any:
    """Return the part of a model that reads a modality, without projection."""
    return getattr(model, f"{TOWERS[modality][0]}model", model)


def project(model: nn.Module, modality: str, **inputs: Tensor) -> Tensor:
    """Compute features in the space of two modalities, shape [batch, dim]."""
    result = getattr(model, PROJECTIONS[modality])(**inputs)
    # transformers 5 returns a model output, with the projection as its pooled state.
    return result if isinstance(result, Tensor) else result.pooler_output


@contextmanager
def _silence(transformers: ModuleType) -> Iterator[None]:
    """Hide progress bars and reports of unused weights. Errors are raised all the same."""
    log = transformers.utils.logging
    verbosity, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if has_bars:
            log.enable_progress_bar()


def _resolve_commit(transformers: ModuleType, source: str, revision: str) -> str:
    """Return the commit of a revision, so that all files of a checkpoint are of the same one."""
    file = transformers.utils.cached_file(source, "config.json", revision=revision)
    parts = Path(file).parts  # …/models--OWNER--NAME/snapshots/COMMIT/config.json
    return parts[parts.index("snapshots") + 1]


def _check_modality(title: str, model: Any, modality: str) -> None:
    modalities = [name for name, method in PROJECTIONS.items() if hasattr(model, method)]
    modalities = modalities or [_INPUTS.get(model.main_input_name, model.main_input_name)]
    check_modality(title, modalities, modality)


def _relevant_values(config: Any) -> Any:
    """Keep the entries of a config.json that can change feature values."""
    if not isinstance(config, dict):
        return config if isinstance(config, bool | int | float | str | None) else str(config)
    return {
        str(name): _relevant_values(value)
        for name, value in config.items()
        if not str(name).startswith("_") and name not in _IRRELEVANT
    }


def _drop_other_towers(model: nn.Module, modality: str) -> None:
    others = tuple(p for name, prefixes in TOWERS.items() if name != modality for p in prefixes)
    for name, _ in list(model.named_children()):
        if name.startswith(others):
            delattr(model, name)


def _find_random_weights(title: str, model: Any, report: dict[str, Any]) -> dict[str, Tensor]:
    """Return by name the weights that the checkpoint lacks: transformers initializes them."""
    if report.get("mismatched_keys"):
        raise MmfeatError(f"{title} has weights whose shape differs from its config.json")
    values = model.state_dict(keep_vars=True)
    # Before transformers 5, names have the prefix of a model with a head: vit.pooler.dense.weight.
    names = [name.removeprefix(f"{model.base_model_prefix}.") for name in report["missing_keys"]]
    for name in names:
        if name not in values:
            raise MmfeatError(f"{title} lacks weights of the model", got=name)
    return {name: values[name] for name in names}


def _drop_random_weights(title: str, model: Any, random_weights: dict[str, Tensor]) -> None:
    """Ensure that no random weight reaches a feature.

    Two cases are harmless: checkpoints of classifiers lack a pooler, which is removed, and
    wav2vec2 uses its mask only in training.

    Raises:
        MmfeatError: the checkpoint lacks a weight that features depend on.
    """
    if any(name.startswith("pooler.") for name in random_weights):
        model.pooler = None
    used = {id(value) for value in model.state_dict(keep_vars=True).values()}
    for name, value in random_weights.items():
        if "masked_spec_embed" in name:
            value.data.zero_()
        elif id(value) in used:
            raise MmfeatError(f"{title} lacks weights of the model", got=name)
