"""The weights of a model on disk: a safetensors file.

A weights file may be damaged or hostile. Before a layer is built, the names, shapes and types of
its tensors are compared with those that the architecture needs, so that no more memory is allocated
than the file has bytes; and every number must be finite.
"""

import hashlib
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor

from mmfeat.errors import DamagedFileError
from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.build import build_model
from mmfeat.storage import files
from mmfeat.store import RecordedFile

WEIGHTS = "model.safetensors"

MAX_TEMPERATURE = 1e6
"""Largest temperature of a model. Those that training fits are far below."""

_CURE = "Copy the model again, or remove its directory and train again"


def save_weights(folder: str, module: Model) -> RecordedFile:
    """Write model.safetensors and return its size and digests."""
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    with files.create(files.join(folder, WEIGHTS)) as output:
        output.write(safetensors.torch.save(state))
    return output.info()


def read_weights(folder: str, info: RecordedFile | None = None) -> dict[str, Tensor]:
    """Read model.safetensors.

    Args:
        folder: where it is.
        info: bytes and sha256 that it must have, as a manifest records them.

    Raises:
        DamagedFileError: the file is missing, has other bytes, or is no safetensors file.
    """
    path = files.join(folder, WEIGHTS)
    size = files.size(path)
    if size is None:
        raise _damaged(f"{path} must exist", None)
    if info and size != info["bytes"]:
        raise _damaged(f"{path} must have the {info['bytes']:,} bytes of its manifest", size)
    with files.open_input(path) as file:
        data = file.read()
    if info and hashlib.sha256(data).hexdigest() != info["sha256"]:
        rule = f"{path} must have the sha256 of its manifest, {info['sha256'][:12]}…"
        raise _damaged(rule, f"{len(data):,} bytes with another sha256")
    return parse_tensors(data, path)


def parse_tensors(data: bytes, path: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. They take as much memory as the file has bytes.

    Raises:
        DamagedFileError: it is no safetensors file.
    """
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(f"{path} must be a safetensors file", str(error)) from error


def restore_model(architecture: Architecture, weights: Mapping[str, Tensor], path: str) -> Model:
    """Build a model with the given weights.

    Args:
        architecture: the layers.
        weights: name → tensor, as `Model.state_dict` returns them.
        path: where the weights are from, for errors.

    Raises:
        DamagedFileError: the weights are not those of the architecture, or not finite.
    """
    _check_shapes(architecture, weights, path)
    check_finite(weights, path)
    temperature, thresholds = float(weights["temperature"]), weights["thresholds"]
    if not 0 < temperature <= MAX_TEMPERATURE:
        raise _damaged(f"the temperature in {path} must be positive", temperature)
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise _damaged(f"the thresholds in {path} must be from 0 to 1", thresholds.tolist()[:5])
    module = build_model(architecture)
    module.load_state_dict(dict(weights))
    return module


def check_finite(weights: Mapping[str, Tensor], path: str) -> None:
    """Check that weights are finite numbers.

    Raises:
        DamagedFileError: a weight is NaN or infinite.
    """
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise _damaged(f"the weights in {path} must be finite", f"{name} with NaN or infinity")


def _check_shapes(architecture: Architecture, weights: Mapping[str, Tensor], path: str) -> None:
    """Compare names, shapes and types with those of a model without memory for its weights."""
    try:
        with torch.device("meta"):
            needed = build_model(architecture).state_dict()
    except (RuntimeError, OverflowError) as error:
        raise _damaged(f"{path} must have layers of possible sizes", str(error)) from error
    rule = f"the weights in {path} must be those of the layers in its configuration"
    if other := sorted(needed.keys() ^ weights.keys()):
        found = "has" if other[0] in weights else "lacks"
        raise _damaged(rule, f"a file that {found} {other[0]}")
    for name, tensor in needed.items():
        found, wanted = _describe(weights[name]), _describe(tensor)
        if found != wanted:
            raise _damaged(rule, f"{name} of {found} instead of {wanted}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _damaged(rule: str, got: object) -> DamagedFileError:
    return DamagedFileError(rule, got=got, cure=_CURE)
