"""The numbers and names that fix a model's layers: what config.json needs to rebuild it."""

from collections.abc import Iterable
from dataclasses import dataclass

from mmfeat.errors import MmfeatError
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS

LOGISTIC = "logistic"
"""Named in the place of a fusion: no layers, the features themselves (see `linear.py`)."""


@dataclass(frozen=True)
class Architecture:
    """The layers of a `Model`.

    Raises:
        MmfeatError: no such fusion or combination, more modalities than the fusion takes, or a
            number out of its range.
    """

    dims: dict[str, int]
    """Feature column → length of its vectors, in the order the model takes them."""
    outputs: int
    """Length of the logits: classes, labels, or 1 of a regression."""
    fusion: str = "gmu"
    combination: str = "mlp"
    hidden: int = 256
    """d, the length every modality is projected to, and the width of the combination."""
    dropout: float = 0.2
    """Part of a feature's values, and of the combination's units, set to 0 in training."""
    modality_dropout: float = 0.1
    """Chance that a present modality is hidden from the model in training."""

    def __post_init__(self) -> None:
        check_name("fusion", self.fusion, [*FUSIONS, LOGISTIC])
        check_name("combination", self.combination, COMBINATIONS)
        most = None if self.fusion == LOGISTIC else FUSIONS[self.fusion].most
        if most is not None and len(self.dims) > most:
            raise MmfeatError(
                f"the fusion {self.fusion!r} takes at most {most} of the modalities",
                got=list(self.dims),
                cure="Choose with --modalities, or name another fusion",
            )
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise MmfeatError(f"{name} must lie in [0, 1)", got=getattr(self, name))
        if self.hidden < 1:
            raise MmfeatError("hidden must be at least 1", got=self.hidden)


def check_name(what: str, name: str, table: Iterable[str]) -> None:
    """Raise the error that lists the names there are."""
    if name not in table:
        raise MmfeatError(
            f"no {what} of that name", got=name, cure=f"There are: {', '.join(sorted(table))}"
        )
