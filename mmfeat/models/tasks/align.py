"""Alignment: no target, but whether the modalities of a record belong together."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from msgspec import Meta

from mmfeat.models.tasks.base import Task, float_column
from mmfeat.models.tasks.multilabel import sigmoid
from mmfeat.storage import Size

BIAS, ALIGNMENT, LOG_RATIO = -3, -2, -1
"""Positions in the outputs; the modalities' vectors precede them."""

MISALIGNMENT = LOG_RATIO
"""Position in the scores: the misalignment replaces the log ratio."""

_EXTRA_OUTPUTS = 3


@dataclass(frozen=True)
class Align(Task):
    """Predict the probability that the modalities of a record come from different records.

    With r = p(a, b) / p(a) p(b) and as many shuffled pairs as true pairs, it is 1 / (1 + r).
    """

    name: ClassVar[str] = "align"
    min_modalities: ClassVar[int] = 2

    modalities: Annotated[list[str], Meta(min_length=2)]
    """Names of the feature columns."""
    hidden: Size
    """Length of a vector of the shared space."""
    align_loss: str
    """`infonce` or `siglip`."""

    @property
    def outputs(self) -> int:
        """One vector per modality, the bias, the alignment and the log ratio."""
        return len(self.modalities) * self.hidden + _EXTRA_OUTPUTS

    def vectors(self, outputs: np.ndarray) -> np.ndarray:
        """Return the modalities' vectors, shape (rows, modalities, hidden); 0 if absent.

        Args:
            outputs: logits or scores, shape (rows, outputs).
        """
        return outputs[:, :-_EXTRA_OUTPUTS].reshape(len(outputs), len(self.modalities), self.hidden)

    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.to_scores`: the logits, with the misalignment replacing the log ratio.

        The log ratio already includes the temperature.
        """
        scores = logits.copy()
        scores[:, MISALIGNMENT] = sigmoid(-logits[:, LOG_RATIO])
        return scores

    def to_columns(
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return `prediction`, `misalignment` from 0 to 1, and `alignment`, the cosine.

        `prediction` is `misaligned` if the misalignment exceeds 0.5, else `aligned`.
        """
        misalignment = scores[:, MISALIGNMENT]
        labels = np.where(np.nan_to_num(misalignment) > 0.5, "misaligned", "aligned").astype(object)
        return {
            "prediction": pa.array(labels, pa.string(), mask=~scorable),
            "misalignment": float_column(misalignment, scorable),
            "alignment": float_column(scores[:, ALIGNMENT], scorable),
        }
