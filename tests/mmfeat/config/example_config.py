"""A config dataclass with every kind of field that commands use."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from mmfeat.config.flags import FeaturesPath, OutputPath, RepeatedFlag
from mmfeat.errors import MmfeatError

CHECKED: list[object] = []
"""Instances whose `__post_init__` has run."""


@dataclass(frozen=True)
class Model:
    """How the model is built."""

    fusion: str = "gmu"
    """Fusion."""
    hidden: int = 256
    """Length of a vector."""
    columns: RepeatedFlag = ()
    """Columns."""

    def __post_init__(self):
        CHECKED.append(self)
        if self.hidden < 1:
            raise MmfeatError("--hidden must be at least 1", got=self.hidden)


@dataclass(frozen=True)
class Recipe:
    """How the model is trained."""

    lr: float | None = None
    """Learning rate."""
    epochs: int = 50
    """Epochs."""


@dataclass(frozen=True)
class Train:
    """Train."""

    features: FeaturesPath
    """Features."""
    output: OutputPath
    """Output."""
    target: str
    """Target."""
    model: tyro.conf.OmitArgPrefixes[Model] = field(default_factory=lambda: Model(hidden=64))
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    split_column: str = ""
    """Split."""
    mode: Literal["no", "border", ""] = "border"
    """Mode."""
    strict: bool = True
    """Strict."""
    rates: tuple[float, ...] = ()
    """Rates."""
    names: RepeatedFlag = ()
    """Names."""

    def __post_init__(self):
        CHECKED.append(self)
        if self.target == "half-made":
            raise MmfeatError("--target must be another", got=self.target)


REQUIRED = ("F", "O", "--target", "t")
"""Arguments without which `Train` cannot be parsed."""
