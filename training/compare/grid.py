"""List the models to compare: single modalities, linear models, fusions × combinations."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mmfeat.config import split_commas
from mmfeat.errors import MmfeatError, check_choice
from mmfeat.features import Column
from mmfeat.models.architecture import (
    LATE,
    LATE_STACKED,
    LOGISTIC,
    RIDGE,
    Architecture,
)
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.saved_model import input_shapes
from training.describe_options import DESCRIBE

LINEAR = (LOGISTIC, RIDGE)
"""Models with a single solution, whatever the seed."""

SINGLE = "single"

ALL = "all"


@dataclass(frozen=True)
class ModelSpec:
    """A model to compare, one row of the leaderboard.

    Attributes:
        name: unique name, shown in the table.
        modalities: feature columns it uses.
        fusion, combination: as in `mmfeat train`.
    """

    name: str
    modalities: tuple[str, ...]
    fusion: str
    combination: str

    @property
    def folder(self) -> str:
        """The name, quoted for use as a folder name."""
        return quote(self.name, safe=" +,=").replace(" ", "_")

    @property
    def is_linear(self) -> bool:
        """Whether the model has a single solution, whatever the seed."""
        return self.fusion in LINEAR

    def seeds(self, count: int) -> range:
        """Return the seeds to train with, at most `count`."""
        return range(1 if self.is_linear else count)


def build_grid(
    columns: Sequence[Column], fusions: str, combinations: str, task: str
) -> tuple[list[ModelSpec], dict[str, str]]:
    """List the models to compare.

    Args:
        columns: the feature columns.
        fusions: comma-separated names, or `all`.
        combinations: comma-separated names, or `all`.
        task: name of the task. Logistic regression is left out of `regression`, and models
            without a fusion out of `describe`.

    Returns:
        The models, and the fusions that do not fit the columns: name → reason. Only `all` leaves
        fusions out.

    Raises:
        MmfeatError: unknown fusion or combination, or a fusion named in `fusions` does not fit the
            columns.
    """
    names = tuple(column.name for column in columns)
    combos = _split_combinations(combinations)
    for combination in combos:
        check_choice("combination", combination, COMBINATIONS)
    linear = [name for name in LINEAR if not (name == LOGISTIC and task == "regression")]
    late = [LATE, LATE_STACKED]
    if task == DESCRIBE:  # a decoder needs fused vectors
        linear, late = [], []
    specs = [_linear_spec(kind, (name,), len(names) > 1) for name in names for kind in linear]
    specs += [_layered_spec(SINGLE, c, (name,), combos) for name in names for c in combos]
    if len(names) == 1:
        return specs, {}
    specs += [_linear_spec(kind, names, False) for kind in linear]
    available = [name for name in (*sorted(FUSIONS), *late) if name != SINGLE]
    chosen = available if fusions == ALL else [f for f in split_commas(fusions) if f not in linear]
    left_out: dict[str, str] = {}
    for fusion in chosen:
        check_choice("fusion", fusion, [*available, *linear])
        try:
            Architecture(**input_shapes(columns), outputs=1, fusion=fusion)
        except MmfeatError as error:
            if fusions != ALL:
                raise
            left_out[fusion] = str(error)
            continue
        specs += [_layered_spec(fusion, combination, names, combos) for combination in combos]
    return specs, left_out


def input_spec(column: str, combinations: str) -> ModelSpec:
    """Return the network of one column that chooses the input of the column for all networks."""
    combos = _split_combinations(combinations)
    return _layered_spec(SINGLE, combos[0], (column,), combos)


def _split_combinations(combinations: str) -> list[str]:
    return sorted(COMBINATIONS) if combinations == ALL else split_commas(combinations)


def _linear_spec(kind: str, modalities: tuple[str, ...], with_modality: bool) -> ModelSpec:
    name = f"{modalities[0]} {kind}" if with_modality else kind
    return ModelSpec(name, modalities, kind, "linear")


def _layered_spec(
    fusion: str, combination: str, modalities: tuple[str, ...], combinations: Sequence[str]
) -> ModelSpec:
    name = modalities[0] if fusion == SINGLE else fusion
    if len(combinations) > 1:
        name = f"{name} + {combination}"
    return ModelSpec(name, modalities, fusion, combination)
