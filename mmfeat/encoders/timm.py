"""The scheme `timm:`: vision models of timm, with published weights or those of a file."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.image_encoder import ImageEncoder, limit_grid_tokens
from mmfeat.encoders.neural.loading import (
    hash_weights,
    import_optional,
    loading_errors,
    package_versions,
    without_initialization,
)
from mmfeat.encoders.neural.preprocessing import (
    ImageTransform,
    check_filter,
    per_channel,
    square_side,
)
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError

_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes of names that timm itself looks up."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `timm:MODEL` with its published weights, or `timm:MODEL/PATH` with those of a file.

    PATH is a `.safetensors` file, or a torch checkpoint that contains only weights.

    Options: `output` is `pooled` (one vector, the input of the classifier) or `tokens` (at most
    `max_tokens` vectors: patches, or the feature map of a CNN).

    Raises:
        MmfeatError: no such model or weights, or weights that do not fit.
    """
    title = f"timm:{name}"
    check_modality(title, ["image"], modality)
    library = import_optional("timm", "timm")
    output, max_tokens = options.get_output(("pooled", "tokens"))
    model, source = _load_model(library, title, name)
    transform = image_transform(title, library.data.resolve_model_data_config(model), settings)
    facts = {
        "scheme": "timm",
        "model": model.pretrained_cfg.get("architecture", ""),
        **source,
        "weights": hash_weights(model),
        "versions": package_versions("timm"),
    }
    prefix = getattr(model, "num_prefix_tokens", 0)

    def forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if not max_tokens:
            return model(inputs["pixels"])
        return limit_grid_tokens(_feature_map(model, inputs["pixels"]), max_tokens, prefix)

    runtime = Runtime(model, settings, forward)
    return ImageEncoder(title, transform, runtime, facts, settings, output, max_tokens)


def _load_model(library: Any, title: str, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the model without its classifier, and the published name of its weights, if any."""
    architecture, _, path = (name, "", "") if name.startswith(_SOURCES) else name.partition("/")
    if not name.startswith(_SOURCES) and not library.is_model(architecture):
        close = library.list_models(f"*{architecture.partition('.')[0][:8]}*")[:5]
        cure = f"Did you mean one of {', '.join(close)}?" if close else "See timm.list_models()"
        raise MmfeatError("timm: must name a model of timm", got=name, cure=cure)
    if not path:
        # A model has several published checkpoints. Without a tag, timm takes the first.
        cure = f"Use a file of weights: timm:{architecture}/weights.safetensors"
        with loading_errors(title, cure):
            model = library.create_model(architecture, pretrained=True, num_classes=0)
        if name.startswith("local-dir:"):
            return model, {}
        return model, {"name": architecture, "tag": model.pretrained_cfg.get("tag", "")}
    if not Path(path).is_file():
        raise MmfeatError("timm:MODEL/PATH must name a file of weights", got=path)
    with loading_errors(title), without_initialization():
        model = library.create_model(architecture, pretrained=False, num_classes=0)
        state = library.models.load_state_dict(path, device="cpu", weights_only=True)
        missing, unexpected = model.load_state_dict(state, strict=False)
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    unexpected = [key for key in unexpected if not key.startswith(heads)]
    for problem, keys in (("lacks weights", missing), ("has unexpected weights", unexpected)):
        if keys:
            raise MmfeatError(f"{title} {problem}", got=sorted(keys)[0])
    return model, {}


def image_transform(title: str, config: dict[str, Any], settings: Settings) -> ImageTransform:
    """Return the preprocessing that the data config of a model describes."""
    channels, height, width = config["input_size"]
    if channels != 3:
        raise MmfeatError(f"{title} must read images of 3 channels", got=channels)
    size = square_side(title, height, width)
    resize = math.floor(size / (config["crop_pct"] or 0.875))
    return ImageTransform(
        size=size,
        resize=resize,
        mode={"squash": "squash", "border": "longer"}.get(config["crop_mode"], "shorter"),  # type: ignore[arg-type]
        interpolation=check_filter(title, config["interpolation"]),
        mean=per_channel(config["mean"]),
        std=per_channel(config["std"]),
        reduced=settings.reduced_decoding,
    )


def _feature_map(model: Any, pixels: Tensor) -> Tensor:
    """Compute unpooled features: shape [batch, tokens, dim] or [batch, dim, height, width]."""
    states: Tensor = model.forward_features(pixels)
    if states.ndim == 4 and states.shape[1] != model.num_features == states.shape[3]:
        states = states.permute(0, 3, 1, 2)  # Swin puts the channels last
    return states
