"""The numbers and names that fix a model's layers: what config.json needs to rebuild it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmfeat.errors import MmfeatError
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.fusion.base import Fusion

LOGISTIC = "logistic"
"""Named in the place of a fusion: no layers, the features themselves (see `linear.py`)."""
RIDGE = "ridge"
"""As `LOGISTIC`, the weights by least squares."""
LATE = "late"
"""Named in the place of a fusion: the mean of the modalities' logits (see `late.py`)."""
LATE_STACKED = "late_stacked"
"""As `LATE`, with a linear layer on the logits in the place of their mean."""
ALIGN = "align"
"""As `LATE`, no classes but vectors of one space (see `alignment.py`); the task `align` alone
takes it, and takes nothing else."""

WHOLE_MODELS = (LATE, LATE_STACKED, LOGISTIC, RIDGE)
"""What is named in the place of a fusion and is a model of its own: `--fusion` takes these and
the names of `FUSIONS`."""


@dataclass(frozen=True)
class Architecture:
    """The layers of a `Model`.

    Raises:
        MmfeatError: no such fusion or combination, fewer or more modalities than the fusion takes,
            no tokens for a fusion that needs them, or a number out of its range.
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
    tokens: dict[str, int] = field(default_factory=dict)
    """Feature column → most tokens of a record, for the columns that hold tokens."""

    def __post_init__(self) -> None:
        check_name("fusion", self.fusion, [*FUSIONS, *WHOLE_MODELS, ALIGN])
        check_name("combination", self.combination, COMBINATIONS)
        if self.fusion in FUSIONS:
            self._check_columns(FUSIONS[self.fusion])
        unknown = [column for column in self.tokens if column not in self.dims]
        if unknown:
            raise MmfeatError("tokens must name columns of the model", got=unknown)
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise MmfeatError(f"{name} must lie in [0, 1)", got=getattr(self, name))
        if self.hidden < 1:
            raise MmfeatError("hidden must be at least 1", got=self.hidden)

    def _check_columns(self, fusion: type[Fusion]) -> None:
        """Check that the fusion can take that many columns, of that kind."""
        if fusion.most is not None and len(self.dims) > fusion.most:
            raise MmfeatError(
                f"the fusion {self.fusion!r} takes at most {fusion.most} of the modalities",
                got=list(self.dims),
                cure="Choose with --modalities, or name another fusion",
            )
        if len(self.dims) < fusion.least:
            raise MmfeatError(
                f"the fusion {self.fusion!r} takes at least {fusion.least} modalities",
                got=list(self.dims),
                cure="Name more with --modalities, or the fusion 'single'",
            )
        if fusion.tokens and not self.tokens:
            raise MmfeatError(
                f"the fusion {self.fusion!r} attends over the tokens of a modality: over one "
                "pooled vector that is degenerate, as a softmax over one key is always 1",
                got=f"only pooled columns: {', '.join(self.dims)}",
                cure="Extract a column of tokens, or name the fusion 'fusion_transformer', "
                "which takes pooled vectors",
            )


def check_name(what: str, name: str, table: Iterable[str]) -> None:
    """Raise the error that lists the names there are."""
    if name not in table:
        raise MmfeatError(
            f"no {what} of that name", got=name, cure=f"There are: {', '.join(sorted(table))}"
        )
