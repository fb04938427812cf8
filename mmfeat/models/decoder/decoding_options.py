"""How a text is decoded. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from mmfeat.errors import MmfeatError

MAX_BEAMS = 64


@dataclass(frozen=True)
class DecodingOptions:
    """How texts are generated. For models of the task describe.

    Raises:
        MmfeatError: a number is out of range.
    """

    decoding: Literal["greedy", "beam", "sample"] = "greedy"
    """greedy: the most likely token at each step. beam: the text with the best mean
    log-probability of --beams candidates. sample: draw each token."""
    beams: int = 4
    """Number of candidates of beam."""
    sampling_temperature: float = 1.0
    """Divides the logits of sample: below 1 safer, above 1 more diverse."""
    sampling_seed: int = 0
    """Seed of sample. A record gets the same text in any shard and any batch."""
    min_tokens: int = 1
    """Minimum length of a text in tokens."""
    max_tokens: int | None = None
    """Maximum length of a text in tokens. None = that of training."""

    def __post_init__(self) -> None:
        if not 1 <= self.beams <= MAX_BEAMS:
            raise MmfeatError(f"--beams must be from 1 to {MAX_BEAMS}", got=self.beams)
        if not 1e-3 <= self.sampling_temperature <= 1e3:
            raise MmfeatError(
                "--sampling-temperature must be from 0.001 to 1000",
                got=self.sampling_temperature,
                cure="For the most likely text, use --decoding greedy",
            )
        if not 0 <= self.sampling_seed < 1 << 63:
            raise MmfeatError("--sampling-seed must be from 0 to 2^63 - 1", got=self.sampling_seed)
        if self.min_tokens < 0:
            raise MmfeatError("--min-tokens must not be negative", got=self.min_tokens)
        if self.max_tokens is not None and self.max_tokens < max(1, self.min_tokens):
            raise MmfeatError(
                "--max-tokens must be at least 1 and at least --min-tokens", got=self.max_tokens
            )
