"""Description: a text generated from the features of a record."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from msgspec import Meta

from mmfeat.models.decoder.packing import EXTRA_OUTPUTS, LENGTH, LOG_PROBABILITY, unpack_tokens
from mmfeat.models.decoder.text_codec import TextCodec
from mmfeat.models.tasks.base import Task, float_column

MAX_LENGTH = 4096
"""Largest number of tokens of a text."""


@dataclass(frozen=True)
class Describe(Task):
    """Generate a text. The outputs of the model are tokens, see `mmfeat.models.decoder.packing`.

    Attributes:
        codec: turns tokens into text; set by `with_codec`.
    """

    name: ClassVar[str] = "describe"

    max_length: Annotated[int, Meta(ge=1, le=MAX_LENGTH)]
    """Maximum number of tokens of a text."""
    tokenizer: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    """sha256 of tokenizer.json."""

    @cached_property
    def codec(self) -> TextCodec:
        """See the class."""
        raise AssertionError("the codec is not set")

    def with_codec(self, codec: TextCodec) -> Self:
        """Return the task with the codec that its model was trained with."""
        # Not a field: fields are entries of config.json.
        task = type(self)(self.max_length, self.tokenizer, null_labels=self.null_labels)
        task.__dict__["codec"] = codec
        return task

    @property
    def outputs(self) -> int:
        """The tokens, and four numbers."""
        return self.max_length + EXTRA_OUTPUTS

    def to_scores(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """See `Task.to_scores`: the same numbers."""
        return logits.copy()

    def to_texts(self, scores: np.ndarray) -> list[str]:
        """Return the text of each row of finite scores."""
        return self.codec.decode(unpack_tokens(scores))

    def to_columns(
        self,
        scores: np.ndarray,
        thresholds: np.ndarray,
        scorable: np.ndarray,
        top: int | None = None,
    ) -> dict[str, pa.Array]:
        """Return `prediction`, the text; `log_probability`, the mean of its tokens; `length`.

        The length is the number of tokens without the end token.
        """
        texts: Any = np.full(len(scores), None, object)
        texts[scorable] = self.to_texts(scores[scorable])
        lengths = np.nan_to_num(scores[:, LENGTH]).astype(np.int32)
        return {
            "prediction": pa.array(texts, pa.string(), mask=~scorable),
            "log_probability": float_column(scores[:, LOG_PROBABILITY], scorable),
            "length": pa.array(lengths, pa.int32(), mask=~scorable),
        }
