"""The scheme `open_clip:`: both halves of CLIP models, by a tag, a file, or a directory."""

import hashlib
import json
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

_PLACES = ("hf-hub:", "local-dir:")
"""Beginnings of names that open_clip itself looks up: they bring weights and configuration."""


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`open_clip:ARCH/PRETRAINED`, `open_clip:hf-hub:ORG/REPO`, `open_clip:local-dir:PATH`.

    PRETRAINED is a tag of open_clip or a file: a `.safetensors`, or a checkpoint of torch that
    holds nothing but weights.

    Options: `output` is `projected` (into the space that pictures and texts share), `pooled` (one
    vector before that) or `tokens` (at most `max_tokens` vectors). `config` is a JSON file of an
    architecture that open_clip does not have; ARCH is then its name without `.json`.

    Raises:
        MmfeatError: no such model, no weights, weights that do not fit, no such output.
    """
    title = f"open_clip:{name}"
    if modality not in ("image", "text"):
        raise MmfeatError(f"{title} encodes image and text", got=modality)
    library = require("open_clip", "open-clip")
    output = options.text("output", "projected", ("projected", "pooled", "tokens"))
    most = options.number("max_tokens", 64, 1, 1 << 16) if output == "tokens" else 0
    architecture, weights = _split(library, title, name, options.text("config", ""))
    with one_line(title):
        model = library.create_model(
            architecture, weights or None, require_pretrained=True, weights_only=True
        )
    facts: dict[str, Any] = {"scheme": "open_clip"}
    if not architecture.startswith("local-dir:") and not Path(weights).is_file():
        facts["name"] = name
    if modality == "text":
        from mmfeat.encoders.open_clip.text import ClipText, cut_tower

        tower = cut_tower(title, model, output)
        with one_line(title):
            tokenizer = library.get_tokenizer(architecture)
        facts |= _facts(library, architecture, tower)
        return ClipText(title, tower, tokenizer, facts, settings, output, most)
    tower = model.visual
    facts |= _facts(library, architecture, tower)
    picture = _picture(title, library.get_model_preprocess_cfg(model), settings)
    runtime = Runtime(tower, settings, _Pictures(title, tower, output, most))
    return PictureEncoder(title, picture, runtime, facts, settings, output, most)


def _split(library: Any, title: str, name: str, config: str) -> tuple[str, str]:
    """Architecture, as open_clip is told of it, and tag or file of the weights."""
    if name.startswith(_PLACES):
        return name, ""
    if config:
        if not Path(config).is_file():
            raise MmfeatError("config must be a JSON file of an architecture", got=config)
        with one_line(title):
            library.add_model_config(config)
    known = set(library.list_models())
    # Some names have a slash of their own: ViT-B/32.
    cuts = [at for at, letter in enumerate(name) if letter == "/"] + [len(name)]
    at = next((at for at in cuts if name[:at].replace("/", "-") in known), None)
    if at is None:
        raise MmfeatError(
            "open_clip: must name an architecture of open_clip",
            got=name,
            cure="See open_clip.list_models(), or give your own with ?config=PATH.json",
        )
    architecture, weights = name[:at].replace("/", "-"), name[at + 1 :]
    tags = library.list_pretrained_tags_by_model(architecture)
    if weights not in tags and not Path(weights).is_file():
        raise MmfeatError(
            f"open_clip:{architecture}/… must name weights: a tag or a file",
            got=weights,
            cure=f"Its tags are: {', '.join(tags)}" if tags else "There is no tag for it",
        )
    return architecture, weights


def _facts(library: Any, architecture: str, tower: nn.Module) -> dict[str, Any]:
    """Weights and what they are put into: one set of weights has two activations in open_clip."""
    config = json.dumps(library.get_model_config(architecture), sort_keys=True)
    return {
        "architecture": hashlib.sha256(f"{config}\n{tower}".encode()).hexdigest(),
        "weights": weights_digest(tower),
        "versions": versions("open_clip_torch"),
    }


def _picture(title: str, config: dict[str, Any], settings: Settings) -> Picture:
    """Preprocessing as the model's own configuration says."""
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    side = square_side(title, height, width)
    modes = {"shortest": "shorter", "longest": "longer", "squash": "squash"}
    fill = int(config.get("fill_color") or 0)
    # open_clip takes whatever is not bilinear for bicubic.
    bilinear = config.get("interpolation") == "bilinear"
    return Picture(
        size=side,
        resize=side,
        mode=modes[config.get("resize_mode") or "shortest"],  # type: ignore[arg-type]
        interpolation=filter_name(title, "bilinear" if bilinear else "bicubic"),
        mean=three(config["mean"]),
        std=three(config["std"]),
        reduced=settings.reduced_decoding,
        fill=(fill, fill, fill),
    )


class _Pictures:
    """The forward of a picture tower: one of its outputs.

    Raises:
        MmfeatError: the tower does not give that output.
    """

    def __init__(self, title: str, tower: Any, output: str, most: int) -> None:
        self._most = most
        self._trunk = hasattr(tower, "trunk")
        if output == "projected":
            return
        if not self._trunk and not hasattr(tower, "output_tokens"):
            raise MmfeatError(
                f"{title} has no output {output}: it projects while it pools",
                cure="There is: projected",
            )
        if not self._trunk:
            tower.proj = None
            tower.output_tokens = bool(most)
        self._output = output

    _output = "projected"

    def __call__(self, tower: Any, inputs: dict[str, Tensor]) -> Tensor:
        pixels = inputs["pixels"]
        if self._trunk and self._output != "projected":
            if not self._most:
                pooled: Tensor = tower.trunk(pixels)
                return pooled
            whole = getattr(tower.trunk, "num_prefix_tokens", 0)
            return grid_tokens(tower.trunk.forward_features(pixels), whole, self._most)
        found = tower(pixels)
        if self._most:
            return grid_tokens(found[1], 0, self._most)
        vectors: Tensor = found[0] if isinstance(found, tuple) else found
        return vectors
