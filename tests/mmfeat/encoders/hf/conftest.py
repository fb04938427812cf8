"""Checkpoints, copies of them with something changed, and the encoders that read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.encoders.base import Encoder
from tests.mmfeat.encoders.checks import changed_copy


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the directory of a checkpoint, made when first asked for. Not to be written to."""
    folder = tmp_path_factory.mktemp("hf")

    def directory(name: str) -> Path:
        from tests.mmfeat.encoders.hf.checkpoints import MAKERS

        path = folder / name
        if not path.exists():
            torch.manual_seed(7)
            MAKERS[name](path)
        return path

    return directory


@pytest.fixture
def copied(models: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Gives a copy of a checkpoint, if asked for with other values in one of its JSON files."""

    def copy(name: str, file: str = "", **values: object) -> Path:
        return changed_copy(models(name), tmp_path / f"{name}@1", file, **values)

    return copy


@pytest.fixture
def load(models: Callable[[str], Path]) -> Callable[..., Any]:
    """Loads an encoder by its directory, or the name of its checkpoint and options:
    `clip?output=pooled`."""

    def loaded(name: str | Path, modality: str, **settings: Any) -> Encoder:
        checkpoint, _, query = str(name).partition("?")
        path = name if isinstance(name, Path) else models(checkpoint)
        flag = f"column:{modality}=hf:{path}" + (f"?{query}" if query else "")
        return EncoderSpec.parse(flag).load(Settings(device="cpu", **settings))

    return loaded
