"""No target at all: whether the modalities of a record belong together."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mmfeat.models.tasks.base import Task, floats
from mmfeat.models.tasks.multilabel import sigmoid

BIAS, ALIGNMENT, LOG_RATIO = -3, -2, -1
"""Where these stand in the outputs; before them the modalities' vectors, one by one."""

MISALIGNMENT = LOG_RATIO
"""What stands in the scores in the log ratio's place."""

_REST = 3


@dataclass(frozen=True)
class Align(Task):
    """The probability that the modalities of a record are those of different records.

    With r = p(a, b) / p(a) p(b) that is 1 / (1 + r), where as many pairs are shuffled as are not.
    """

    name: ClassVar[str] = "align"
    least: ClassVar[int] = 2

    modalities: list[str]
    """Names of the feature columns."""
    hidden: int
    """Length of a vector of the shared space."""
    align_loss: str
    """`infonce` or `siglip`."""

    @property
    def outputs(self) -> int:
        """A vector a modality, the bias, the alignment and the log ratio."""
        return len(self.modalities) * self.hidden + _REST

    def vectors(self, outputs: np.ndarray) -> np.ndarray:
        """The modalities' vectors, shape (rows, modalities, hidden); 0 for an absent one.

        Args:
            outputs: logits or scores, shape (rows, outputs).
        """
        return outputs[:, :-_REST].reshape(len(outputs), len(self.modalities), self.hidden)

    def scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.scores`: the logits, and the misalignment in the log ratio's place.

        The temperature is in the log ratio already.
        """
        scores = logits.copy()
        scores[:, MISALIGNMENT] = sigmoid(-logits[:, LOG_RATIO])
        return scores

    def columns(
        self, scores: np.ndarray, thresholds: np.ndarray, scorable: np.ndarray
    ) -> dict[str, pa.Array]:
        """See `Task.columns`: `prediction`, `misalignment` from 0 to 1, `alignment`, the cosine.

        `prediction` is `misaligned` where the misalignment is above 0.5, else `aligned`.
        """
        misalignment = scores[:, MISALIGNMENT]
        words = np.where(np.nan_to_num(misalignment) > 0.5, "misaligned", "aligned").astype(object)
        return {
            "prediction": pa.array(words, pa.string(), mask=~scorable),
            "misalignment": floats(misalignment, scorable),
            "alignment": floats(scores[:, ALIGNMENT], scorable),
        }
