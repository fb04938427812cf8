"""The settings that autotuning chooses; column.json stores them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from mmfeat.encoders import Precision, Settings
from mmfeat.storage import Size


@dataclass(frozen=True)
class TunedSettings:
    """Result of autotuning.

    Attributes:
        precision: of the weights and the forward pass.
        batch_size: maximum number of records per batch.
        measured: measurements for column.json: records/s and cosine to float32 per precision,
            records/s per batch size.
        decode: where JPEGs are decoded.
        compile: whether the forward pass is compiled.
        memory_limit: maximum number of records per batch that the memory of the GPU holds, after a
            larger batch did not fit; None = no batch has failed.
    """

    precision: Precision
    batch_size: Size
    measured: dict[str, Any]
    decode: Literal["cpu", "gpu"] = "cpu"
    compile: bool = False
    memory_limit: Size | None = None

    def apply(self, settings: Settings) -> Settings:
        """Return the settings with the precision, the decoder and the compilation of the column."""
        return replace(
            settings,
            precision=self.precision,
            decode=self.decode,
            compile="on" if self.compile else "off",
        )

    @property
    def usable_batch_size(self) -> int:
        """The batch size, within the memory of the GPU."""
        return min(self.batch_size, self.memory_limit or self.batch_size)
