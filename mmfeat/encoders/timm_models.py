"""The scheme `timm:`: vision models of timm, with published weights or those of a file."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.loading import one_line
from mmfeat.encoders.options import Options, require
from mmfeat.encoders.preprocessing import Picture
from mmfeat.encoders.runtime import Runtime, versions, weights_digest
from mmfeat.encoders.settings import Settings
from mmfeat.encoders.vision import PictureEncoder, filter_name, grid_tokens, square_side, three
from mmfeat.errors import MmfeatError

_PLACES = ("hf-hub:", "hf_hub:", "local-dir:")
"""Beginnings of names that timm itself looks up."""


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`timm:MODEL` with its published weights, or `timm:MODEL/PATH` with those of a file.

    PATH is a `.safetensors`, or a checkpoint of torch that holds nothing but weights.

    Options: `output` is `pooled` (one vector, what the classifier would see) or `tokens` (at most
    `max_tokens` vectors: patches, or the grid of a CNN).

    Raises:
        MmfeatError: no such model, no such weights, weights that do not fit.
    """
    title = f"timm:{name}"
    if modality != "image":
        raise MmfeatError(f"{title} encodes image", got=modality)
    library = require("timm", "timm")
    output = options.text("output", "pooled", ("pooled", "tokens"))
    most = options.number("max_tokens", 64, 1, 1 << 16) if output == "tokens" else 0
    model, source = _open(library, title, name)
    picture = _picture(title, library.data.resolve_model_data_config(model), settings)
    facts = {
        "scheme": "timm",
        "model": model.pretrained_cfg.get("architecture", ""),
        **source,
        "weights": weights_digest(model),
        "versions": versions("timm"),
    }
    whole = getattr(model, "num_prefix_tokens", 0)

    def forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        pixels = inputs["pixels"]
        return grid_tokens(_grid(model, pixels), whole, most) if most else model(pixels)

    runtime = Runtime(model, settings, forward)
    return PictureEncoder(title, picture, runtime, facts, settings, output, most)


def _open(library: Any, title: str, name: str) -> tuple[Any, dict[str, Any]]:
    """The model without its classifier, and where its weights are from, if that is a name."""
    architecture, _, path = (name, "", "") if name.startswith(_PLACES) else name.partition("/")
    if not name.startswith(_PLACES) and not library.is_model(architecture):
        close = library.list_models(f"*{architecture.partition('.')[0][:8]}*")[:5]
        cure = f"Did you mean one of {', '.join(close)}?" if close else "See timm.list_models()"
        raise MmfeatError("timm: must name a model of timm", got=name, cure=cure)
    if not path:
        # A model of timm has many checkpoints: without a tag timm takes its first.
        cure = f"Give it as a file: timm:{architecture}/weights.safetensors"
        with one_line(title, cure):
            model = library.create_model(architecture, pretrained=True, num_classes=0)
        if name.startswith("local-dir:"):
            return model, {}
        return model, {"name": architecture, "tag": model.pretrained_cfg.get("tag", "")}
    if not Path(path).is_file():
        raise MmfeatError("timm:MODEL/PATH must give a file of weights", got=path)
    with one_line(title):
        model = library.create_model(architecture, pretrained=False, num_classes=0)
        state = library.models.load_state_dict(path, device="cpu", weights_only=True)
        missing, unknown = model.load_state_dict(state, strict=False)
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    left = [key for key in unknown if not key.startswith(heads)]
    for rule, keys in (("lacks weights of the model", missing), ("has weights too many", left)):
        if keys:
            raise MmfeatError(f"{title} {rule}", got=sorted(keys)[0])
    return model, {}


def _picture(title: str, config: dict[str, Any], settings: Settings) -> Picture:
    """Preprocessing as the model's own configuration says."""
    channels, height, width = config["input_size"]
    if channels != 3:
        raise MmfeatError(f"{title} must read pictures of 3 channels", got=channels)
    size = square_side(title, height, width)
    resize = math.floor(size / (config["crop_pct"] or 0.875))
    return Picture(
        size=size,
        resize=resize,
        mode={"squash": "squash", "border": "longer"}.get(config["crop_mode"], "shorter"),  # type: ignore[arg-type]
        interpolation=filter_name(title, config["interpolation"]),
        mean=three(config["mean"]),
        std=three(config["std"]),
        reduced=settings.reduced_decoding,
    )


def _grid(model: Any, pixels: Tensor) -> Tensor:
    """Features before pooling, shape [batch, tokens, dim] or [batch, dim, height, width]."""
    states: Tensor = model.forward_features(pixels)
    if states.ndim == 4 and states.shape[1] != model.num_features == states.shape[3]:
        states = states.permute(0, 3, 1, 2)  # as Swin has it
    return states
