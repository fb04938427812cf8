"""The scheme `torch:`: a program saved by torch.export, with a JSON file of its preprocessing.

    model.pt2     torch.export.save(program): one input, whose first dimension is dynamic (batch)
    model.json    {"modality": "image", "picture": {"size": 224, "resize": 256, "mean": […], …}}
              or  {"modality": "audio", "rate": 16000, "seconds": 5}

Images arrive as float32 of shape [batch, 3, size, size]. Sounds arrive as float32 of shape
[batch, rate · seconds], zero-padded at the end. The program returns [batch, dim], or
[batch, tokens, dim] with `?output=tokens`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.neural.loading import loading_errors, package_versions
from mmfeat.encoders.neural.preprocessing import ImageTransform
from mmfeat.encoders.neural.runtime import Runtime
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError
from mmfeat.media import load_audio
from mmfeat.storage import files

_MAX_SECONDS = 600


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `torch:PATH.pt2` and its preprocessing, `PATH.json`.

    Raises:
        MmfeatError: a file is missing, the JSON is incomplete, or the program contains a pickle.
    """
    title = f"torch:{name}"
    if files.size(name) is None:
        raise MmfeatError(f"{title}: no such file", got=name)
    config = files.read_json(name.removesuffix(".pt2") + ".json")
    if not isinstance(config, dict) or config.get("modality") not in ("image", "audio"):
        raise MmfeatError(
            f"{title} needs a JSON file of its preprocessing beside it",
            got=name.removesuffix(".pt2") + ".json",
            cure='Write it as in {"modality": "image", "picture": {"size": 224, "resize": 256}}',
        )
    check_modality(title, [config["modality"]], modality)
    with files.open_input(name) as file:
        data = file.read()
    with loading_errors(title):
        _reject_pickles(title, data)
        program = torch.export.load(io.BytesIO(data))
    _, max_tokens = options.get_output(("pooled", "tokens"), limit=4096)
    return ExportedEncoder(title, program.module(), data, config, max_tokens, settings)


class ExportedEncoder(Encoder):
    """Features of images or sounds from an exported program.

    Args:
        title: `torch:PATH`, for error messages.
        module: the program as a module of one input.
        data: content of the .pt2 file, for the identity.
        config: content of the JSON file.
        max_tokens: maximum number of vectors per record. 0 = exactly one vector.
        settings: settings of the command.
    """

    batch_size = 128

    def __init__(
        self,
        title: str,
        module: nn.Module,
        data: bytes,
        config: dict[str, Any],
        max_tokens: int,
        settings: Settings,
    ) -> None:
        if settings.precision != "float32":
            # A program contains casts to fixed types, so its weights cannot be cast.
            raise MmfeatError(
                f"{title} runs in the precision it was exported in", got=settings.precision
            )
        self.modality, self.max_tokens = config["modality"], max_tokens
        self._identity = {
            "scheme": "torch",
            "name": "torch",
            "sha256": hashlib.sha256(data).hexdigest(),
            "preprocessing": config,
            "max_tokens": max_tokens,
            "versions": package_versions(),
        }
        self._transform: ImageTransform | None = None
        if self.modality == "image":
            self._transform = _image_transform(title, config, settings)
            shape: tuple[int, ...] = (3, self._transform.size, self._transform.size)
        else:
            self._rate, self._seconds = _audio_window(title, config)
            self._samples = round(self._rate * self._seconds)
            shape = (self._samples,)
        self._runtime = Runtime.for_program(module, settings)
        self.on_gpu = self._runtime.on_gpu
        with loading_errors(title, "Export it with one input and a dynamic first dimension"):
            self.dim = int(self._run(torch.zeros((2, *shape))).shape[-1])

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an image to uint8 [3, size, size], or a sound to float32 [rate · seconds]."""
        if self._transform is not None:
            return self._transform.decode(data)
        samples = load_audio(data, self._rate, self._seconds)
        return np.pad(samples, (0, self._samples - len(samples)))

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        if self._transform is not None:
            features = self._run(self._transform.to_tensor(batch))
        else:
            features = self._run(torch.from_numpy(np.stack(batch)))
        if not self.max_tokens:
            return features.numpy()
        return [row[: self.max_tokens].numpy() for row in features]

    def _run(self, inputs: Tensor) -> Tensor:
        features = self._runtime.run({"input": inputs})
        if features.dim() != (3 if self.max_tokens else 2):
            shape = "[batch, tokens, dim]" if self.max_tokens else "[batch, dim]"
            raise MmfeatError(f"the program must return {shape}", got=tuple(features.shape))
        return features


def _image_transform(title: str, config: dict[str, Any], settings: Settings) -> ImageTransform:
    names = {field.name for field in fields(ImageTransform)} - {"reduced"}
    given: Any = config.get("picture")
    if not isinstance(given, dict) or not {"size", "resize"} <= given.keys() <= names:
        raise MmfeatError(
            f"{title}: its JSON needs a picture with size and resize. Optional: "
            f"{', '.join(sorted(names - {'size', 'resize'}))}",
            got=given,
        )
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return ImageTransform(**values, reduced=settings.reduced_decoding)


def _audio_window(title: str, config: dict[str, Any]) -> tuple[int, float]:
    """Return sample rate and seconds."""
    rate, seconds = int(config.get("rate", 0)), float(config.get("seconds", 0))
    if rate < 1 or not 0 < seconds <= _MAX_SECONDS:
        raise MmfeatError(
            f"{title}: audio needs a rate, and seconds up to {_MAX_SECONDS}", got=config
        )
    return rate, seconds


def _reject_pickles(title: str, data: bytes) -> None:
    """Reject an archive from which torch would unpickle more than tensors.

    Raises:
        MmfeatError: the archive contains such a pickle.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith("_config.json"):
                unsafe = any(_pickle_flags(json.loads(archive.read(name))))
            else:
                is_pickle = name.endswith((".pt", ".pkl"))
                unsafe = is_pickle and not _has_only_tensors(archive.read(name))
            if unsafe:
                raise MmfeatError(
                    f"{title} contains pickled objects, which could run code when read",
                    got=name,
                    cure="Export it again from plain tensors",
                )


def _pickle_flags(value: Any) -> Iterator[bool]:
    """Yield for each entry of a weights config whether torch would unpickle it."""
    if isinstance(value, dict):
        yield bool(value.get("use_pickle"))
        path = value.get("path_name")
        yield isinstance(path, str) and not path.startswith(("weight_", "tensor_"))
        for child in value.values():
            yield from _pickle_flags(child)


def _has_only_tensors(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:
        return False
    return True
