"""What is compared: each modality alone, linear models, and every fusion with every combination."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mmfeat.config.flags import comma_list
from mmfeat.errors import MmfeatError
from mmfeat.features.store import Column
from mmfeat.models.architecture import (
    LATE,
    LATE_STACKED,
    LOGISTIC,
    RIDGE,
    Architecture,
    check_name,
)
from mmfeat.models.checkpoint import input_shapes
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS

LINEAR = (LOGISTIC, RIDGE)
"""Models that have one answer, whatever the seed."""

SINGLE = "single"

ALL = "all"


@dataclass(frozen=True)
class System:
    """One line of the table.

    Attributes:
        name: what it is called.
        modalities: the feature columns it takes.
        fusion, combination: as `mmfeat train` names them.
    """

    name: str
    modalities: tuple[str, ...]
    fusion: str
    combination: str

    @property
    def folder(self) -> str:
        """Its name as a file system takes it."""
        return quote(self.name, safe=" +,=").replace(" ", "_")

    def seeds(self, asked: int) -> range:
        """The seeds it is trained with."""
        return range(1 if self.fusion in LINEAR else asked)


def systems_of(
    columns: Sequence[Column], fusions: str, combinations: str, task: str
) -> tuple[list[System], dict[str, str]]:
    """All systems, and why fusions that were not asked for by name are left out.

    Args:
        columns: the feature columns.
        fusions: names with commas between them, or `all`.
        combinations: likewise.
        task: name of the task; logistic regression learns no numbers.

    Raises:
        MmfeatError: no such fusion or combination, or one that was asked for by name does not take
            these columns.
    """
    names = tuple(column.name for column in columns)
    combos = sorted(COMBINATIONS) if combinations == ALL else comma_list(combinations)
    for combination in combos:
        check_name("combination", combination, COMBINATIONS)
    linear = [name for name in LINEAR if not (name == LOGISTIC and task == "regression")]
    systems = [_linear(kind, (name,), len(names) > 1) for name in names for kind in linear]
    systems += [_layers(SINGLE, c, (name,), combos) for name in names for c in combos]
    if len(names) == 1:
        return systems, {}
    systems += [_linear(kind, names, False) for kind in linear]
    known = [name for name in (*sorted(FUSIONS), LATE, LATE_STACKED) if name != SINGLE]
    asked = known if fusions == ALL else [f for f in comma_list(fusions) if f not in LINEAR]
    left_out: dict[str, str] = {}
    for fusion in asked:
        check_name("fusion", fusion, [*known, *LINEAR])
        try:
            Architecture(**input_shapes(columns), outputs=1, fusion=fusion)
        except MmfeatError as error:
            if fusions != ALL:
                raise
            left_out[fusion] = str(error)
            continue
        systems += [_layers(fusion, combination, names, combos) for combination in combos]
    return systems, left_out


def _linear(kind: str, modalities: tuple[str, ...], named: bool) -> System:
    return System(f"{modalities[0]} {kind}" if named else kind, modalities, kind, "linear")


def _layers(
    fusion: str, combination: str, modalities: tuple[str, ...], combinations: Sequence[str]
) -> System:
    name = modalities[0] if fusion == SINGLE else fusion
    if len(combinations) > 1:
        name = f"{name} + {combination}"
    return System(name, modalities, fusion, combination)
