"""Predict records from their features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.shared import Shared

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, stack_features
from mmfeat.scoring import make_table
from pipelines.library.elements import EncodedSample

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel

_BATCH = {"min_batch_size": 64, "max_batch_size": 512}
"""A model computes 512 rows at a time; fewer are padded."""


def score_samples(
    samples: Sequence[EncodedSample], model: "LoadedModel"
) -> Iterator[dict[str, Any]]:
    """Predict a batch of records. Yield the rows that `mmfeat score` writes.

    Raises:
        MmfeatError: a feature was made by another encoder than that of the training, or has
            another shape.
    """
    features, present = {}, {}
    for column in model.columns:
        vectors = [_find_feature(sample, column) for sample in samples]
        features[column.name], present[column.name] = stack_features(vectors, column)
    predictions = model.predict(features, present)
    reasons = [
        None if is_scorable else _reason(sample, model.column_names)
        for sample, is_scorable in zip(samples, predictions.scorable, strict=True)
    ]
    keys = pa.chunked_array([[sample.key for sample in samples]], pa.string())
    yield from make_table(model, predictions, keys, reasons).to_pylist()


def _reason(sample: EncodedSample, columns: Sequence[str]) -> str:
    absent = [name for name in columns if name not in sample.features]
    text = ", ".join(f"{name}:{sample.reasons.get(name, 'missing')}" for name in absent)
    return text or "not_finite"


def _find_feature(sample: EncodedSample, column: Column) -> np.ndarray | None:
    """Return the feature of a record, checked, or None if it has none."""
    vector = sample.features.get(column.name)
    if vector is None:
        return None
    found = sample.fingerprints.get(column.name, column.fingerprint)
    if found != column.fingerprint:
        raise MmfeatError(
            f"features of {column.name} must have the fingerprint the model was trained on, "
            f"{column.fingerprint[:12]}",
            got=found[:12],
            cure="Encode with the encoder and the precision of the training",
        )
    tokens = min(len(vector), column.max_tokens)
    shape = (tokens, column.dim) if column.max_tokens else (column.dim,)
    if np.shape(vector) != shape:
        raise MmfeatError(
            f"a feature of {column.name} must have the shape {shape}", got=np.shape(vector)
        )
    return vector


@beam.typehints.with_input_types(EncodedSample)
@beam.typehints.with_output_types(dict[str, Any])
@dataclass
class ScoreFeatures(beam.PTransform):
    """Predicts records. One row comes out per record, as `mmfeat score` writes it.

    A row is a dict: `__key__`, `status`, `reason`, `prediction`, the weight of each modality, and
    the probabilities if the model has classes. Each worker process loads the model once.

    Args:
        model: output directory of `mmfeat train`, a path or a URL.
    """

    model: str

    def __post_init__(self) -> None:
        super().__init__()
        if not self.model:
            raise MmfeatError("ScoreFeatures needs the directory of a model", got=self.model)

    def expand(self, samples: beam.PCollection) -> beam.PCollection:
        """Collect batches of records and predict them."""
        score = beam.ParDo(_Score(self.model, Shared()))
        return samples | "Batch" >> beam.BatchElements(**_BATCH) | "Score" >> score


class _Score(beam.DoFn):
    """Predicts batches of records."""

    def __init__(self, model: str, shared: Shared) -> None:
        self._path, self._shared = model, shared

    def setup(self) -> None:
        from mmfeat.models.saved_model import load_model  # imports torch

        self._model = self._shared.acquire(lambda: load_model(self._path))

    def process(self, samples: list[EncodedSample]) -> Iterator[dict[str, Any]]:
        yield from score_samples(samples, self._model)
