"""The scheme `open_clip:`: CLIP models by tag, file, or directory."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.image_encoder import ImageEncoder
from mmfeat.encoders.neural.loading import (
    hash_weights,
    import_optional,
    loading_errors,
    package_versions,
    without_initialization,
)
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.open_clip.image import image_forward, image_transform
from mmfeat.encoders.open_clip.text import OpenClipText, extract_text_tower
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError

_SOURCES = ("hf-hub:", "local-dir:")
"""Prefixes of names that open_clip itself looks up, with weights and configuration."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `open_clip:ARCH/PRETRAINED`, `open_clip:hf-hub:ORG/REPO` or `open_clip:local-dir:PATH`.

    PRETRAINED is a tag of open_clip or a file: `.safetensors`, or a torch checkpoint that contains
    only weights.

    Options: `output` is `projected` (in the space that images and texts share), `pooled` (one
    vector before the projection) or `tokens` (at most `max_tokens` vectors). `config` is a JSON
    file of an architecture that open_clip does not have; ARCH is then its name without `.json`.

    Raises:
        MmfeatError: no such model, weights or output, or weights that do not fit.
    """
    title = f"open_clip:{name}"
    check_modality(title, ["image", "text"], modality)
    library = import_optional("open_clip", "open-clip-torch")
    output, max_tokens = options.get_output(("projected", "pooled", "tokens"))
    architecture, weights = _split_name(library, title, name, options.get_text("config", ""))
    with loading_errors(title), without_initialization():
        model = library.create_model(
            architecture, weights or None, require_pretrained=True, weights_only=True
        )
    facts: dict[str, Any] = {"scheme": "open_clip"}
    if not architecture.startswith("local-dir:") and not Path(weights).is_file():
        facts["name"] = name
    if modality == "text":
        tower = extract_text_tower(title, model, output)
        with loading_errors(title):
            tokenizer = library.get_tokenizer(architecture)
        facts |= _tower_facts(library, architecture, tower)
        return OpenClipText(title, tower, tokenizer, facts, settings, output, max_tokens)
    tower = model.visual
    facts |= _tower_facts(library, architecture, tower)
    transform = image_transform(title, library.get_model_preprocess_cfg(model), settings)
    runtime = Runtime(tower, settings, image_forward(title, tower, output, max_tokens))
    return ImageEncoder(title, transform, runtime, facts, settings, output, max_tokens)


def _split_name(library: Any, title: str, name: str, config: str) -> tuple[str, str]:
    """Return the architecture, and the tag or file of the weights."""
    if name.startswith(_SOURCES):
        return name, ""
    if config:
        if not Path(config).is_file():
            raise MmfeatError("config must be a JSON file of an architecture", got=config)
        with loading_errors(title):
            library.add_model_config(config)
    known = set(library.list_models())
    # Some architectures have a slash in their name, such as ViT-B/32.
    ends = [index for index, letter in enumerate(name) if letter == "/"] + [len(name)]
    end = next((end for end in ends if name[:end].replace("/", "-") in known), None)
    if end is None:
        raise MmfeatError(
            "open_clip: must name an architecture of open_clip",
            got=name,
            cure="See open_clip.list_models(), or add your own with ?config=PATH.json",
        )
    architecture, weights = name[:end].replace("/", "-"), name[end + 1 :]
    tags = library.list_pretrained_tags_by_model(architecture)
    if weights not in tags and not Path(weights).is_file():
        raise MmfeatError(
            f"open_clip:{architecture}/… must name weights: a tag or a file",
            got=weights,
            cure=f"Its tags are: {', '.join(tags)}" if tags else "It has no tags",
        )
    return architecture, weights


def _tower_facts(library: Any, architecture: str, tower: nn.Module) -> dict[str, Any]:
    """Identify weights and modules: open_clip has the same weights with two activations."""
    config = json.dumps(library.get_model_config(architecture), sort_keys=True)
    return {
        "architecture": hashlib.sha256(f"{config}\n{tower}".encode()).hexdigest(),
        "weights": hash_weights(tower),
        "versions": package_versions("open_clip_torch"),
    }
