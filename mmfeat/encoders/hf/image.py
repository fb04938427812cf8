"""Pictures through a vision model of transformers: ViTs and CNNs, alone or with a text tower.

The picture is prepared by `Picture`, filled from the checkpoint's own settings; at loading both are
compared, so a processor that does anything else is refused.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmfeat.encoders.hf.base import HfEncoder, projection, tower
from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import Picture
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

_TOLERANCE = 0.02
"""Mean difference of normalised pixels: Pillow and torchvision filter not quite alike."""

_FURTHER_STEPS = ("rescale_offset", "include_top", "pad_size")
"""Steps of some processors that are not called do_…."""


class HfImage(HfEncoder):
    """A picture's vector, or those of its patches.

    Outputs: `projected`; `pooled`, the model's pooled state or else the vector of its first token;
    `tokens`, the rows of the last hidden state. Where there are more than `max_tokens`, the square
    of patches is averaged to a smaller one and tokens that stand for the whole picture are kept.
    """

    modality = "image"

    def __init__(self, checkpoint: Checkpoint, options: Options, settings: Settings) -> None:
        super().__init__(checkpoint, options, settings)
        processor = checkpoint.part("AutoImageProcessor")
        self.picture = picture_of(checkpoint.title, processor, settings.reduced_decoding)
        self.dim = self.measure(np.zeros((3, self.picture.size, self.picture.size), np.uint8))
        steps = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.picture).items()
        }
        self._identity = self.facts(settings, preprocessing=steps)

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> np.ndarray:
        """uint8, shape (3, size, size)."""
        return self.picture.decode(data)

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        features = self.runtime.run({"pixel_values": self.picture.batch(batch)}).numpy()
        return list(features) if self.max_tokens else features

    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        if self.output == "projected":
            return projection(model, "image", **inputs)
        found = tower(model, "image")(**inputs)
        states = found.last_hidden_state
        if self.output == "tokens":
            return _tokens(states, self.max_tokens)
        pooled = getattr(found, "pooler_output", None)
        if pooled is None:
            pooled = states.mean(dim=(2, 3)) if states.ndim == 4 else states[:, 0]
        return pooled.flatten(1)


def _tokens(states: Tensor, most: int) -> Tensor:
    """At most so many tokens a picture.

    Args:
        states: shape [batch, tokens, dim], those of the whole picture first, or of a CNN
            [batch, dim, height, width].
        most: bound on the tokens.
    """
    if states.ndim == 4:
        whole, patches = states.new_empty(len(states), 0, states.shape[1]), states
    else:
        side = math.isqrt(states.shape[1])
        whole, rows = states.split([states.shape[1] - side**2, side**2], dim=1)
        patches = rows.mT.unflatten(2, (side, side))
    whole = whole[:, :most]
    side = math.isqrt(most - whole.shape[1])
    if patches.shape[2] * patches.shape[3] > most - whole.shape[1]:
        if not side:
            return whole
        patches = nn.functional.adaptive_avg_pool2d(patches.float(), side)
    return torch.cat([whole.float(), patches.flatten(2).mT.float()], dim=1)


def picture_of(title: str, processor: Any, reduced: bool) -> Picture:
    """The steps of an image processor.

    Raises:
        MmfeatError: one of its settings asks for a step that there is not.
    """
    own = dict(processor.to_dict())
    steps = {name for name, value in own.items() if name.startswith("do_") and value}
    known = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
    steps |= {name for name in _FURTHER_STEPS if own.get(name)}
    for step in sorted(steps - known):
        raise _refusal(title, step, own[step])
    if "do_resize" not in steps:
        raise _refusal(title, "do_resize", own.get("do_resize"))
    mode, resize, size = _resizing(title, own)
    if "do_center_crop" in steps:
        size = _side(title, "crop_size", own)
    elif mode == "shorter" and not own.get("crop_pct"):
        raise _refusal(title, "do_center_crop", False)
    scale = own.get("rescale_factor", 1 / 255) if "do_rescale" in steps else 1
    normalize = "do_normalize" in steps
    mean, std = (own["image_mean"], own["image_std"]) if normalize else ([0] * 3, [1] * 3)
    if len(mean) != 3:
        raise _refusal(title, "image_mean", mean)
    picture = Picture(
        size=size,
        resize=resize,
        mode=mode,
        interpolation=Image.Resampling(int(own.get("resample", 2))).name.lower(),
        # Values run from 0 to 1 here, and from 0 to 255 times `scale` there.
        mean=_scaled(mean, 255 * scale),
        std=_scaled(std, 255 * scale),
        reduced=reduced,
        corner="truncated",
    )
    _check(title, processor, picture)
    return picture


def _scaled(values: Sequence[float], factor: float) -> tuple[float, float, float]:
    red, green, blue = (float(value) / factor for value in values)
    return red, green, blue


def _resizing(title: str, own: Mapping[str, Any]) -> tuple[Any, int, int]:
    """How, to which length, and what is left of it in the end."""
    size = own["size"]
    shortest = size if isinstance(size, int) else size.get("shortest_edge")
    if shortest is None or (isinstance(size, int) and own.get("default_to_square", True)):
        side = _side(title, "size", own)
        return "squash", side, side
    if not isinstance(size, int) and size.get("longest_edge"):
        raise _refusal(title, "size", dict(size))
    if crop := own.get("crop_pct"):
        # ConvNeXt's processor, ResNet's too: large pictures are not cropped but squashed.
        if shortest >= 384:
            return "squash", shortest, shortest
        return "shorter", int(shortest / crop), shortest
    return "shorter", shortest, shortest


def _side(title: str, name: str, own: Mapping[str, Any]) -> int:
    """The length of a square's sides."""
    value = own[name]
    height, width = (
        (value, value)
        if isinstance(value, int)
        else (value.get(side) for side in ("height", "width"))
    )
    if not isinstance(height, int) or height != width:
        raise _refusal(title, name, value)
    return height


def _check(title: str, processor: Any, picture: Picture) -> None:
    """Refuse a processor that makes something else of two made-up pictures."""
    for width, height in ((2 * picture.resize, 3 * picture.resize), (picture.resize, 67)):
        rows, columns = np.mgrid[:height, :width] / (height + width)
        pixels = np.stack([np.sin(9 * rows), np.sin(7 * columns), np.sin(5 * rows * columns)], 2)
        image = Image.fromarray((127.5 + 127.5 * pixels).astype(np.uint8))
        theirs = np.asarray(processor(images=image, return_tensors="np")["pixel_values"])
        ours = picture.batch([picture.pixels(image)]).numpy()
        if theirs.shape != ours.shape or np.abs(theirs - ours).mean() > _TOLERANCE / min(
            picture.std
        ):
            raise _refusal(title, "image_processor_type", type(processor).__name__)


def _refusal(title: str, setting: str, value: object) -> MmfeatError:
    return MmfeatError(
        f"{title}: its preprocessor_config.json asks for what cannot be done here: {setting}",
        got=value,
    )
