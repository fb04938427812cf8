"""The image tower of a CLIP model: its preprocessing and its forward pass."""

from typing import Any

from torch import Tensor

from mmfeat.encoders.neural.image_encoder import limit_grid_tokens
from mmfeat.encoders.neural.preprocessing import (
    ImageTransform,
    check_filter,
    per_channel,
    square_side,
)
from mmfeat.encoders.neural.runtime import Forward
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError


def image_transform(title: str, config: dict[str, Any], settings: Settings) -> ImageTransform:
    """Return the preprocessing that the config of a model describes."""
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    side = square_side(title, height, width)
    modes = {"shortest": "shorter", "longest": "longer", "squash": "squash"}
    fill = int(config.get("fill_color") or 0)
    # open_clip resizes with bicubic for any other name.
    bilinear = config.get("interpolation") == "bilinear"
    return ImageTransform(
        size=side,
        resize=side,
        mode=modes[config.get("resize_mode") or "shortest"],  # type: ignore[arg-type]
        interpolation=check_filter(title, "bilinear" if bilinear else "bicubic"),
        mean=per_channel(config["mean"]),
        std=per_channel(config["std"]),
        reduced=settings.reduced_decoding,
        fill=(fill, fill, fill),
    )


def image_forward(title: str, tower: Any, output: str, max_tokens: int) -> Forward:
    """Return a function that computes one output of an image tower.

    The tower is changed in place to return that output.

    Raises:
        MmfeatError: the tower does not have that output.
    """
    uses_trunk = hasattr(tower, "trunk") and output != "projected"
    if output != "projected" and not uses_trunk:
        if not hasattr(tower, "output_tokens"):
            raise MmfeatError(
                f"{title} has no output {output}: pooling and projection are one layer",
                cure="Use output=projected",
            )
        tower.proj = None
        tower.output_tokens = bool(max_tokens)

    def forward(module: Any, inputs: dict[str, Tensor]) -> Tensor:
        pixels = inputs["pixels"]
        if uses_trunk:
            return _trunk_features(module.trunk, pixels, max_tokens)
        result = module(pixels)
        if max_tokens:
            return limit_grid_tokens(result[1], max_tokens, prefix=0)
        features: Tensor = result[0] if isinstance(result, tuple) else result
        return features

    return forward


def _trunk_features(trunk: Any, pixels: Tensor, max_tokens: int) -> Tensor:
    """Compute the features of a timm model within the tower."""
    if not max_tokens:
        pooled: Tensor = trunk(pixels)
        return pooled
    prefix = getattr(trunk, "num_prefix_tokens", 0)
    return limit_grid_tokens(trunk.forward_features(pixels), max_tokens, prefix)
