"""Encoders of images by transformers: ViTs and CNNs, alone or with a text tower.

An `ImageTransform` takes the place of the checkpoint's image processor. Loading compares both on
test images, and rejects a processor that does anything else.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from mmfeat.encoders.hf.checkpoint import Checkpoint, find_tower, project
from mmfeat.encoders.neural.image_encoder import ImageEncoder, limit_grid_tokens
from mmfeat.encoders.neural.loading import package_versions
from mmfeat.encoders.neural.preprocessing import ImageTransform, per_channel
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import EncoderOptions, Settings
from mmfeat.errors import MmfeatError

_TOLERANCE = 0.02
"""Maximum mean difference of pixels: the filters of Pillow and torchvision differ slightly."""

_SUPPORTED_STEPS = {
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "do_normalize",
    "do_convert_rgb",
}

_UNSUPPORTED_STEPS = ("rescale_offset", "include_top", "pad_size")
"""Steps of some processors whose names do not start with `do_`."""


class HfImage(ImageEncoder):
    """One vector per image, or one per patch.

    Outputs: `projected`; `pooled`, the pooled state of the model, or the vector of the first token
    if the model has no pooler; `tokens`, the last hidden state, with neighbouring patches averaged
    if there are more than `max_tokens`.
    """

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions, settings: Settings) -> None:
        output, max_tokens = options.get_output(checkpoint.outputs)
        processor = checkpoint.load_processor("AutoImageProcessor")
        super().__init__(
            checkpoint.title,
            image_transform(checkpoint.title, processor, settings),
            Runtime(checkpoint.model, settings, partial(_forward, output, max_tokens)),
            checkpoint.facts,
            settings,
            output,
            max_tokens,
        )

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "versions": package_versions("transformers")}


def _forward(output: str, max_tokens: int, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    pixels = inputs["pixels"]
    if output == "projected":
        return project(model, "image", pixel_values=pixels)
    result = find_tower(model, "image")(pixel_values=pixels)
    states = result.last_hidden_state
    if output == "tokens":
        return limit_grid_tokens(states, max_tokens)
    pooled = getattr(result, "pooler_output", None)
    if pooled is None:
        pooled = states.mean(dim=(2, 3)) if states.ndim == 4 else states[:, 0]
    return pooled.flatten(1)


def image_transform(title: str, processor: Any, settings: Settings) -> ImageTransform:
    """Return the preprocessing that an image processor does.

    Raises:
        MmfeatError: the processor has a step that is not supported.
    """
    config = dict(processor.to_dict())
    steps = {name for name, value in config.items() if name.startswith("do_") and value}
    steps |= {name for name in _UNSUPPORTED_STEPS if config.get(name)}
    for step in sorted(steps - _SUPPORTED_STEPS):
        raise _unsupported(title, step, config[step])
    if "do_resize" not in steps:
        raise _unsupported(title, "do_resize", config.get("do_resize"))
    mode, resize, size = _resize_rule(title, config)
    if "do_center_crop" in steps:
        size = _square_side(title, "crop_size", config)
    elif mode == "shorter" and not config.get("crop_pct"):
        raise _unsupported(title, "do_center_crop", False)
    mean, std = ([0] * 3, [1] * 3)
    if "do_normalize" in steps:
        mean, std = config["image_mean"], config["image_std"]
    if len(mean) != 3:
        raise _unsupported(title, "image_mean", mean)
    # The processor normalizes values from 0 to 255 times `scale`, ImageTransform from 0 to 1.
    scale = 255 * (config.get("rescale_factor", 1 / 255) if "do_rescale" in steps else 1)
    transform = ImageTransform(
        size=size,
        resize=resize,
        mode=mode,
        interpolation=Image.Resampling(int(config.get("resample", 2))).name.lower(),
        mean=per_channel([float(value) / scale for value in mean]),
        std=per_channel([float(value) / scale for value in std]),
        reduced=settings.reduced_decoding,
        corner="truncated",
    )
    _compare(title, processor, transform)
    return transform


def _resize_rule(title: str, config: Mapping[str, Any]) -> tuple[Any, int, int]:
    """Return the mode, the length to resize to, and the side of the result."""
    size = config["size"]
    shortest = size if isinstance(size, int) else size.get("shortest_edge")
    if shortest is None or (isinstance(size, int) and config.get("default_to_square", True)):
        side = _square_side(title, "size", config)
        return "squash", side, side
    if not isinstance(size, int) and size.get("longest_edge"):
        raise _unsupported(title, "size", dict(size))
    if crop := config.get("crop_pct"):
        # The processor of ConvNeXt and ResNet squashes large images instead of cropping them.
        if shortest >= 384:
            return "squash", shortest, shortest
        return "shorter", int(shortest / crop), shortest
    return "shorter", shortest, shortest


def _square_side(title: str, name: str, config: Mapping[str, Any]) -> int:
    """Return the side of a square size."""
    value = config[name]
    if isinstance(value, int):
        return value
    height, width = value.get("height"), value.get("width")
    if not isinstance(height, int) or height != width:
        raise _unsupported(title, name, value)
    return height


def _compare(title: str, processor: Any, transform: ImageTransform) -> None:
    """Reject a processor whose result differs from that of the transform on two test images."""
    for width, height in ((2 * transform.resize, 3 * transform.resize), (transform.resize, 67)):
        rows, columns = np.mgrid[:height, :width] / (height + width)
        pixels = np.stack([np.sin(9 * rows), np.sin(7 * columns), np.sin(5 * rows * columns)], 2)
        image = Image.fromarray((127.5 + 127.5 * pixels).astype(np.uint8))
        expected = np.asarray(processor(images=image, return_tensors="np")["pixel_values"])
        actual = transform.to_tensor([transform.resize_and_crop(image)]).numpy()
        tolerance = _TOLERANCE / min(transform.std)
        if expected.shape != actual.shape or np.abs(expected - actual).mean() > tolerance:
            raise _unsupported(title, "image_processor_type", type(processor).__name__)


def _unsupported(title: str, setting: str, value: object) -> MmfeatError:
    return MmfeatError(
        f"{title}: its preprocessor_config.json has an unsupported setting: {setting}", got=value
    )
