"""Options of the task describe, for `mmfeat train` and `mmfeat compare`. Imports no torch."""

from dataclasses import dataclass
from typing import Any

from mmfeat.errors import MmfeatError
from training.config_checks import check_at_least_one

DESCRIBE = "describe"

MIN_BPE, MAX_BPE = 256, 1 << 16
MAX_TEXT_TOKENS = 4096

HEAD_WIDTH = 32
"""Preferred width of a head of attention."""


@dataclass(frozen=True)
class DescribeOptions:
    """Decoder. Only for --task describe."""

    decoder: str = ""
    """Decoder of the texts. Empty = a small transformer that is trained with the fusion. hf:PATH =
    a frozen causal language model of transformers, a local folder with safetensors weights, that
    reads the features as its prefix."""
    decoder_layers: int = 4
    """Layers of the transformer."""
    decoder_width: int = 256
    """Length of a token's vector in the transformer; a multiple of 32, or below 32."""
    decoder_prefix: int = 8
    """Number of vectors that the fused features become, before the text."""
    vocabulary: int = 4096
    """Maximum number of tokens of the byte-level BPE that is trained on the training rows."""
    text_tokens: int = 64
    """Maximum number of tokens of a text; longer targets are cut in training."""
    label_smoothing: float = 0.1
    """Probability that the training loss gives to all tokens instead of the right one (Szegedy et
    al. 2016). Validation has none."""

    def __post_init__(self) -> None:
        check_at_least_one(self, "decoder_layers", "decoder_width", "decoder_prefix", "text_tokens")
        if self.decoder and not self.decoder.startswith("hf:"):
            raise MmfeatError(
                "--decoder must be empty or hf:PATH",
                got=self.decoder,
                cure="Name a folder that save_pretrained wrote, as --decoder hf:path/to/model",
            )
        if self.decoder_width > HEAD_WIDTH and self.decoder_width % HEAD_WIDTH:
            raise MmfeatError(
                f"--decoder-width must be a multiple of {HEAD_WIDTH}", got=self.decoder_width
            )
        for name, low, high in (
            ("vocabulary", MIN_BPE, MAX_BPE),
            ("text_tokens", 1, MAX_TEXT_TOKENS),
            ("decoder_layers", 1, 256),
            ("decoder_width", 1, 1 << 16),
            ("decoder_prefix", 1, 1 << 10),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                flag = name.replace("_", "-")
                raise MmfeatError(f"--{flag} must be from {low} to {high:,}", got=value)
        if not 0 <= self.label_smoothing < 1:
            raise MmfeatError("--label-smoothing must be in [0, 1)", got=self.label_smoothing)

    @property
    def heads(self) -> int:
        """The number of heads of the transformer."""
        return max(1, self.decoder_width // HEAD_WIDTH)


def check_describe(
    task: str, describe: DescribeOptions, given: dict[str, Any], fusion: str = ""
) -> None:
    """Check that the options fit the task.

    Args:
        task: name of the task.
        describe: the options of the decoder.
        given: flag → value, of options that the task has no use for.
        fusion: the value of --fusion.

    Raises:
        MmfeatError: an option does not fit.
    """
    if task != DESCRIBE:
        if describe != DescribeOptions():
            raise MmfeatError(
                "the options of a decoder need the task describe",
                got=f"--task {task}",
                cure=f"Add --task {DESCRIBE}, or leave them out",
            )
        return
    for flag, value in given.items():
        if value:
            raise MmfeatError(f"the task 'describe' takes no {flag}", got=value)
    if fusion in ("late", "late_stacked", "logistic", "ridge"):
        raise MmfeatError(
            "the task 'describe' needs a fusion of vectors or tokens",
            got=fusion,
            cure="Use --fusion gmu, or another one of docs/fusion.md",
        )
