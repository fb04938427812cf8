"""Loading of checkpoints: optional packages, names, errors, and hashes of weights."""

import hashlib
import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mmfeat.errors import MmfeatError
from mmfeat.system import install_command


def import_optional(module: str, package: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: name of the module.
        package: name of its package for pip.

    Raises:
        MmfeatError: the package is not installed. The message has the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MmfeatError(
            f"this encoder needs the package {package}: {error}",
            cure=f"Install it with: {install_command(package)}",
        ) from error


@contextmanager
def loading_errors(title: str, cure: str = "") -> Iterator[None]:
    """Turn any error of a library into a one-line `MmfeatError`.

    Args:
        title: the encoder as the user wrote it.
        cure: what the user can do, if known.
    """
    try:
        yield
    except MmfeatError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            cure = "Allow its code to run with --trust-remote-code"
        raise MmfeatError(
            f"{title} cannot be loaded: {type(error).__name__}: {text[:300]}", cure=cure
        ) from error


_RANDOM = frozenset("uniform_ normal_ kaiming_uniform_ kaiming_normal_".split())
"""Functions that draw weights: methods of tensors, and those of torch.nn.init that hide them."""


class _NoInitialization(TorchFunctionMode):
    """Leaves the weights of new modules as they are in memory."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        arguments = kwargs or {}
        if getattr(func, "__name__", "") in _RANDOM:
            return args[0] if args else arguments["tensor"]
        return func(*args, **arguments)


def without_initialization() -> AbstractContextManager[object]:
    """Build modules without random weights: a checkpoint that has all weights replaces them.

    Drawing the weights of CLIP takes longer than reading them.
    """
    return _NoInitialization()


def split_revision(scheme: str, name: str) -> tuple[str, str | None]:
    """Split `NAME[@REVISION]` into name and revision. The path of a directory may contain an @.

    Raises:
        MmfeatError: the name is a path, but not of a directory.
    """
    if Path(name).is_dir():
        return name, None
    source, _, revision = name.partition("@")
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise MmfeatError(f"{scheme}: must name a model on the hub or a directory", got=name)
    return source, revision or None


def check_weight_files(title: str, folder: str) -> None:
    """Check that the indexes of a checkpoint in parts name safetensors files of its own folder.

    Args:
        title: the encoder as the user wrote it.
        folder: the checkpoint; a name on the hub is not checked.

    Raises:
        MmfeatError: an index names another file.
    """
    for index in sorted(Path(folder).rglob("*.safetensors.index.json")):
        with loading_errors(title):
            names = json.loads(index.read_bytes())["weight_map"].values()
        for name in names:
            path = PurePosixPath(str(name))
            if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
                raise MmfeatError(
                    f"{title}: {index.name} must name .safetensors files in its folder",
                    got=name,
                    cure="Download the checkpoint again, from a source that you trust",
                )


def hash_weights(module: nn.Module) -> str:
    """Return the sha256 of the names, shapes, types and values of all weights."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return total.hexdigest()


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages that feature values depend on, torch first."""
    return {name: version(name) for name in ("torch", *packages)}
