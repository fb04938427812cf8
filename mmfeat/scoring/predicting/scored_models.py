"""The models of a run: loaded once per process, with what each of them reads."""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from mmfeat.drift import ColumnStatistics, read_statistics
from mmfeat.errors import MmfeatError
from mmfeat.features import Column
from mmfeat.store import read_manifest

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel

_NOT_IN_NAMES = re.compile(r"[^\w-]+")

_KINDS = ("p", "w", "without")
"""What the names of columns begin with that go on with the name of a class or a column."""


@dataclass(frozen=True)
class ScoredModel:
    """One model of a run.

    Attributes:
        prefix: what the names of its columns begin with; empty if it is the only model.
        loaded: the model.
        sha256: digest of its weights.
        encoder_flags: column → its encoder as `--encoder` names it.
        statistics: column → statistics of the training rows; empty for older models.
    """

    prefix: str
    loaded: "LoadedModel"
    sha256: str
    encoder_flags: Mapping[str, str]
    statistics: Mapping[str, ColumnStatistics]

    @property
    def name(self) -> str:
        """The name in reasons."""
        return self.prefix.removesuffix("_")

    def facts(self) -> dict[str, Any]:
        """What the manifest of the predictions says of the model."""
        return {
            "name": self.name or _name_of(self.loaded.path),
            "path": self.loaded.path,
            "sha256": self.sha256,
            "task": self.loaded.task.name,
            "target": self.loaded.target,
            "columns": self.loaded.column_names,
        }


@dataclass(frozen=True)
class ScoredModels:
    """All models of a run."""

    models: Sequence[ScoredModel]

    @classmethod
    def load(cls, paths: Sequence[str]) -> Self:
        """Load the models.

        Raises:
            MmfeatError: a model is not finished.
            DamagedFileError: a model is damaged.
        """
        return cls(
            [_load(path, prefix) for path, prefix in zip(paths, find_prefixes(paths), strict=True)]
        )

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The feature columns that the models read: name → column.

        Raises:
            MmfeatError: two models read different columns of the same name.
        """
        columns: dict[str, Column] = {}
        for model in self.models:
            for column in model.loaded.columns:
                known = columns.setdefault(column.name, column)
                if (known.fingerprint, known.shape) != (column.fingerprint, column.shape):
                    raise MmfeatError(
                        f"all models must read one column {column.name!r}, and "
                        f"{model.loaded.path} reads one of another encoder",
                        got=f"fingerprints {known.fingerprint[:12]} and {column.fingerprint[:12]}",
                        cure="Score with them in two runs",
                    )
        return columns

    @cached_property
    def statistics(self) -> dict[str, ColumnStatistics]:
        """Statistics of the columns: those of the first model that has them."""
        found: dict[str, ColumnStatistics] = {}
        for model in self.models:
            found = {**model.statistics, **found}
        return found

    @property
    def encoder_flags(self) -> dict[str, str]:
        """Column → its encoder, as the models record it."""
        flags: dict[str, str] = {}
        for model in self.models:
            flags = {**model.encoder_flags, **flags}
        return flags

    def check_columns(self, columns: Mapping[str, Column]) -> None:
        """Check that a feature store has the columns; see `LoadedModel.check_columns`."""
        for model in self.models:
            model.loaded.check_columns(columns)


def find_prefixes(paths: Sequence[str]) -> list[str]:
    """Return what the names of each model's columns begin with: `category_`; empty for one model.

    Raises:
        MmfeatError: two models have the same name, a model is named twice, or the columns of two
            models could have the same names.
    """
    if len(paths) == 1:
        return [""]
    names = [_name_of(path) for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise MmfeatError(
            "the directories of the models must have different names, since their columns begin "
            "with them",
            got=twice[0],
            cure="Rename a directory, or score with the models in two runs",
        )
    for name, longer in itertools.permutations(names, 2):
        if longer.startswith(tuple(f"{name}_{kind}_" for kind in _KINDS)) or longer in {
            f"{name}_{kind}" for kind in _KINDS
        }:
            raise MmfeatError(
                "the columns of two models must not have the same names",
                got=f"models {name} and {longer}",
                cure="Rename a directory, or score with the models in two runs",
            )
    return [f"{name}_" for name in names]


def _name_of(path: str) -> str:
    name = os.path.basename(path.rstrip("/")) or os.path.basename(os.path.abspath(path))
    return _NOT_IN_NAMES.sub("_", name)


def _load(path: str, prefix: str) -> ScoredModel:
    from mmfeat.models.saved_model import WEIGHTS, load_model  # imports torch

    loaded, manifest = load_model(path), read_manifest(path, "model")
    dims = {column.name: column.dim for column in loaded.columns}
    return ScoredModel(
        prefix,
        loaded,
        manifest["files"][WEIGHTS]["sha256"],
        manifest.get("encoder_flags", {}),
        read_statistics(path, manifest, dims),
    )
