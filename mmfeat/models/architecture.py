"""The configuration of a model's layers, as config.json stores it."""

from dataclasses import dataclass, field
from typing import Any

from mmfeat.errors import MmfeatError, check_choice
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.conditioning import parse_conditioning
from mmfeat.models.fusion import FUSIONS, Fusion
from mmfeat.plugins import path_cure

LOGISTIC = "logistic"
"""A linear model on the features, fitted by cross-entropy (see `linear.py`)."""
RIDGE = "ridge"
"""A linear model on the features, fitted by least squares."""
LATE = "late"
"""The mean of the modalities' logits (see `late.py`)."""
LATE_STACKED = "late_stacked"
"""A linear layer on the modalities' logits."""
ALIGN = "align"
"""Vectors of one shared space (see `alignment.py`). The task `align` takes this model only."""
KERNEL = "kernel"
"""Kernel ridge regression on the features (see `linear/kernel_model.py`). The search chooses it; it
is no value of `--fusion`."""
MAX_SUPPORT = 1 << 16
"""Maximum number of support rows of a kernel model."""
ENSEMBLE = "ensemble"
"""Several models scored as one (see `ensemble.py`). Training chooses its members; it is no value of
`--fusion`."""
MAX_MEMBERS = 256
"""Maximum number of models of an ensemble."""

STANDALONE_MODELS = (LATE, LATE_STACKED, LOGISTIC, RIDGE)
"""Models without a fusion. `--fusion` takes these names and those of `FUSIONS`."""


@dataclass(frozen=True)
class DecoderLayers:
    """The layers that generate text, see `mmfeat.models.decoder`.

    Raises:
        MmfeatError: a number is out of range.
    """

    layers: int
    width: int
    """Length of a token's vector."""
    heads: int
    """Number of heads of an attention; a divisor of the width."""
    prefix: int
    """Number of vectors that the features become."""
    vocabulary: int
    """Number of tokens."""
    max_length: int
    """Maximum number of tokens of a text."""
    pad: int = 0
    bos: int = 1
    eos: int = 2
    language_model: dict[str, Any] | None = None
    """Configuration of a frozen language model of transformers; None = a transformer of ours."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "prefix", "vocabulary", "max_length"):
            if getattr(self, name) < 1:
                raise MmfeatError(
                    f"{name} of a decoder must be at least 1", got=getattr(self, name)
                )
        if self.width % self.heads:
            raise MmfeatError(
                f"the width of a decoder must be a multiple of its {self.heads} heads",
                got=self.width,
            )
        for name in ("pad", "bos", "eos"):
            if not 0 <= getattr(self, name) < self.vocabulary:
                raise MmfeatError(
                    f"{name} of a decoder must be a token of its {self.vocabulary}",
                    got=getattr(self, name),
                )


@dataclass(frozen=True)
class Architecture:
    """The layers of a `Model`.

    Raises:
        MmfeatError: unknown fusion or combination, too few or too many modalities for the fusion,
            no tokens for a fusion that needs them, or a number out of range.
    """

    dims: dict[str, int]
    """Feature column → length of its vectors, in the model's order."""
    outputs: int
    """Length of the logits: number of classes or labels, or 1 for regression."""
    fusion: str = "gmu"
    combination: str = "mlp"
    hidden: int = 256
    """Length d of every projected modality, and width of the combination."""
    dropout: float = 0.2
    """Fraction of a feature's values, and of the combination's units, set to 0 in training."""
    modality_dropout: float = 0.1
    """Probability that training hides a present modality from the model."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Feature column → maximum number of tokens of a record, for token columns."""
    conditioning: dict[str, str] = field(default_factory=dict)
    """Feature column → conditioning of its features before the first layer (see `conditioning.py`);
    none of the other columns."""
    support: int = 0
    """Number of support rows of a kernel model."""
    members: tuple["Architecture", ...] = ()
    """The models of an ensemble; each reads all or some of the columns."""
    decoder: DecoderLayers | None = None
    """The layers that generate text from the fused features; None = a classifier."""

    def __post_init__(self) -> None:
        if self.fusion == ENSEMBLE:
            self._check_members()
        elif self.fusion == KERNEL:
            if not 0 < self.support <= MAX_SUPPORT:
                rule = f"a kernel model has from 1 to {MAX_SUPPORT:,} support rows"
                raise MmfeatError(rule, got=self.support)
        else:
            check_fusion(self.fusion)
            self._check_conditioning()
        if self.decoder and self.fusion not in FUSIONS:
            raise MmfeatError(
                "a decoder of text reads fused features",
                got=f"the model {self.fusion!r}, which fuses none",
                cure="Name a fusion of vectors or tokens, such as gmu, with --fusion",
            )
        if self.combination not in COMBINATIONS:
            cure = path_cure(self.combination)
            check_choice("combination", self.combination, COMBINATIONS, cure=cure)
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

    def _check_members(self) -> None:
        if not 0 < len(self.members) <= MAX_MEMBERS:
            rule = f"an ensemble has from 1 to {MAX_MEMBERS} members"
            raise MmfeatError(rule, got=len(self.members))
        for member in self.members:
            if member.fusion in (ENSEMBLE, ALIGN) or member.outputs != self.outputs:
                raise MmfeatError("a member of an ensemble predicts its task", got=member.fusion)
            if not member.dims.items() <= self.dims.items():
                raise MmfeatError(
                    "the members of an ensemble read its columns", got=list(member.dims)
                )

    def _check_conditioning(self) -> None:
        for column, conditioning in self.conditioning.items():
            if column not in self.dims:
                raise MmfeatError("conditioning must name columns of the model", got=column)
            parse_conditioning(conditioning, self.dims[column])
        if self.conditioning and self.fusion in (LOGISTIC, RIDGE):
            raise MmfeatError(
                f"the model {self.fusion!r} conditions its features itself", got=self.conditioning
            )

    def _check_columns(self, fusion: type[Fusion]) -> None:
        """Check the number and kind of columns.

        `mmfeat compare` writes these messages to its results: they are part of a file format.
        """
        if fusion.max_modalities is not None and len(self.dims) > fusion.max_modalities:
            raise MmfeatError(
                f"the fusion {self.fusion!r} takes at most {fusion.max_modalities} of the "
                "modalities",
                got=list(self.dims),
                cure="Choose with --modalities, or name another fusion",
            )
        if len(self.dims) < fusion.min_modalities:
            raise MmfeatError(
                f"the fusion {self.fusion!r} takes at least {fusion.min_modalities} modalities",
                got=list(self.dims),
                cure="Name more with --modalities, or the fusion 'single'",
            )
        if fusion.takes_tokens and not self.tokens:
            raise MmfeatError(
                f"the fusion {self.fusion!r} attends over the tokens of a modality: over one "
                "pooled vector that is degenerate, as a softmax over one key is always 1",
                got=f"only pooled columns: {', '.join(self.dims)}",
                cure="Extract a column of tokens, or name the fusion 'fusion_transformer', "
                "which takes pooled vectors",
            )


def check_fusion(name: str) -> None:
    """Check that there is a fusion, or a model without one, of this name.

    Raises:
        MmfeatError: there is none; the message lists the names.
    """
    if name not in FUSIONS:
        choices = [*FUSIONS, *STANDALONE_MODELS, ALIGN]
        check_choice("fusion", name, choices, cure=path_cure(name))
