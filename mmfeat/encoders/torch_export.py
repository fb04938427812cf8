"""The scheme `torch:`: a program that torch.export saved, with a JSON of its preprocessing.

    model.pt2     torch.export.save(program), one input, the batch its first, dynamic dimension
    model.json    {"modality": "image", "picture": {"size": 224, "resize": 256, "mean": […], …}}
              or  {"modality": "audio", "rate": 16000, "seconds": 5}

A picture comes as float32 of shape [batch, 3, size, size], a sound as float32 of shape
[batch, rate · seconds], its end filled with zeros. The program gives [batch, dim], or
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
from mmfeat.encoders.loading import one_line
from mmfeat.encoders.options import Options
from mmfeat.encoders.preprocessing import Picture
from mmfeat.encoders.runtime import Runtime, devices_of, versions
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError
from mmfeat.media.audio import load_audio
from mmfeat.store import files

_MAX_SECONDS = 600


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`torch:PATH.pt2`; what it expects stands in PATH.json.

    Raises:
        MmfeatError: no such files, a JSON that says too little, a program that would be unpickled.
    """
    title = f"torch:{name}"
    if files.size(name) is None:
        raise MmfeatError(f"{title}: no such file", got=name)
    facts = files.read_json(name.removesuffix(".pt2") + ".json")
    if not isinstance(facts, dict) or facts.get("modality") not in ("image", "audio"):
        raise MmfeatError(
            f"{title} needs a JSON of its preprocessing beside it",
            got=name.removesuffix(".pt2") + ".json",
            cure='Write it as in {"modality": "image", "picture": {"size": 224, "resize": 256}}',
        )
    if facts["modality"] != modality:
        raise MmfeatError(f"{title} encodes {facts['modality']}", got=modality)
    with files.open_input(name) as file:
        data = file.read()
    with one_line(title):
        refuse_pickles(title, data)
        program = torch.export.load(io.BytesIO(data))
    tokens = options.text("output", "pooled", ("pooled", "tokens")) == "tokens"
    most = options.number("max_tokens", 64, 1, 4096) if tokens else 0
    return ExportedProgram(title, program.module(), data, facts, most, settings)


class ExportedProgram(Encoder):
    """What a program says of a picture or a sound.

    Args:
        title: `torch:PATH`, for messages.
        module: the program as a module of one input.
        data: the file it came from, for the identity.
        facts: its JSON.
        max_tokens: 0 for one vector a record.
        settings: how it runs.
    """

    batch_size = 128

    def __init__(
        self,
        title: str,
        module: nn.Module,
        data: bytes,
        facts: dict[str, Any],
        max_tokens: int,
        settings: Settings,
    ) -> None:
        if settings.precision != "float32":
            # Types are part of a program; its own casts would meet weights of another type.
            raise MmfeatError(
                f"{title} runs in the precision it was exported in", got=settings.precision
            )
        self.modality, self.max_tokens = facts["modality"], max_tokens
        self._facts = facts
        self._identity = {
            "scheme": "torch",
            "name": "torch",
            "sha256": hashlib.sha256(data).hexdigest(),
            "preprocessing": facts,
            "max_tokens": max_tokens,
            "versions": versions(),
        }
        self._picture = _picture(title, facts, settings) if self.modality == "image" else None
        if self._picture is None:
            self._rate, self._seconds = int(facts.get("rate", 0)), float(facts.get("seconds", 0))
            if self._rate < 1 or not 0 < self._seconds <= _MAX_SECONDS:
                raise MmfeatError(
                    f"{title}: a sound needs a rate, and seconds up to {_MAX_SECONDS}", got=facts
                )
        self._runtime = Runtime.of_program(module, devices_of(settings.device)[0])
        self.on_gpu = self._runtime.devices[0].type != "cpu"
        with one_line(title, "Export it with a dynamic first dimension, and one input"):
            self.dim = int(self._run(self._sample()).shape[-1])

    def identity(self) -> dict[str, Any]:
        return self._identity

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 [3, size, size] of a picture, float32 [rate · seconds] of a sound."""
        if self._picture is not None:
            return self._picture.decode(data)
        found = load_audio(data, self._rate, self._seconds)
        return np.pad(found, (0, self._samples - len(found)))

    def encode(self, batch: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        features = self._run(self._batched(batch))
        if not self.max_tokens:
            return features.numpy()
        return [row[: self.max_tokens].numpy() for row in features]

    @property
    def _samples(self) -> int:
        return round(self._rate * self._seconds)

    def _batched(self, batch: Sequence[np.ndarray]) -> Tensor:
        if self._picture is not None:
            return self._picture.batch(batch)
        return torch.from_numpy(np.stack(batch))

    def _sample(self) -> Tensor:
        shape = (3, self._picture.size, self._picture.size) if self._picture else (self._samples,)
        return torch.zeros((2, *shape))

    def _run(self, inputs: Tensor) -> Tensor:
        features = self._runtime.run({"input": inputs})
        wanted = 3 if self.max_tokens else 2
        if features.dim() != wanted:
            shape = "[batch, tokens, dim]" if self.max_tokens else "[batch, dim]"
            raise MmfeatError(f"the program must give {shape}", got=tuple(features.shape))
        return features


def _picture(title: str, facts: dict[str, Any], settings: Settings) -> Picture:
    known = {field.name for field in fields(Picture)} - {"reduced"}
    given: Any = facts.get("picture")
    if not isinstance(given, dict) or not {"size", "resize"} <= given.keys() <= known:
        raise MmfeatError(
            f"{title}: its JSON needs a picture with size and resize, and may name "
            f"{', '.join(sorted(known - {'size', 'resize'}))}",
            got=given,
        )
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    return Picture(**values, reduced=settings.reduced_decoding)


def refuse_pickles(title: str, data: bytes) -> None:
    """Refuse an archive of which torch would unpickle more than tensors.

    Raises:
        MmfeatError: it would.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith("_config.json"):
                settings = json.loads(archive.read(name))
                unsafe = any(_pickled(settings))
            elif name.endswith((".pt", ".pkl")):
                unsafe = not _tensors_alone(archive.read(name))
            else:
                unsafe = False
            if unsafe:
                raise MmfeatError(
                    f"{title} holds pickled objects, and to read a pickle is to run it",
                    got=name,
                    cure="Export it again from plain tensors",
                )


def _pickled(value: Any) -> Iterator[bool]:
    """Whether each entry of a configuration is stored as a pickle, or as an object of its own."""
    if isinstance(value, dict):
        yield bool(value.get("use_pickle"))
        path = value.get("path_name")
        yield isinstance(path, str) and not path.startswith(("weight_", "tensor_"))
        for inner in value.values():
            yield from _pickled(inner)


def _tensors_alone(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:
        return False
    return True
