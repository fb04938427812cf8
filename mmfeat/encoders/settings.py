"""How encoders run: what is the same for all encoders of one command."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Settings:
    """How encoders run.

    Attributes:
        device: `auto`, `cpu`, `cuda`, `cuda:0,1`.
        precision: of the weights and the forward; `auto` has been settled before an encoder that
            is to make features sees it.
        reduced_decoding: whether a JPEG may be decoded at a fraction of its size, where that is
            still at least as large as the encoder needs.
        threads: of a forward on the CPU; 0 leaves it to torch.
        trust_remote_code: whether code that comes with a checkpoint may run.
    """

    device: str = "auto"
    precision: Precision = "float32"
    reduced_decoding: bool = True
    threads: int = 0
    trust_remote_code: bool = False
