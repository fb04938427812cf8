"""Fixtures: checkpoints, changed copies of them, and encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from tests.mmfeat.encoders.checks import copy_checkpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a name to the directory of a checkpoint. Do not write to it."""
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
    """Return a function that copies a checkpoint and may change one of its JSON files."""

    def copy(name: str, file: str = "", **values: object) -> Path:
        return copy_checkpoint(models(name), tmp_path / f"{name}@1", file, **values)

    return copy


@pytest.fixture
def load(models: Callable[[str], Path]) -> Callable[..., Any]:
    """Return a function that loads an encoder, by directory or as in `clip?output=pooled`."""

    def load_encoder(name: str | Path, modality: str, **settings: Any) -> Encoder:
        checkpoint, _, query = str(name).partition("?")
        path = name if isinstance(name, Path) else models(checkpoint)
        flag = f"column:{modality}=hf:{path}" + (f"?{query}" if query else "")
        return EncoderSpec.parse(flag).load(Settings(device="cpu", **settings))

    return load_encoder
