"""A trained model as an object that predicts features or raw inputs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from mmfeat.api.raw_encoders import RawEncoder
from mmfeat.api.store import Store, to_pandas
from mmfeat.config import make_config
from mmfeat.errors import MmfeatError
from mmfeat.features import Column, stack_features
from mmfeat.models.decoder.decoding_options import DecodingOptions
from mmfeat.models.inference import Predictions
from mmfeat.models.saved_model import LoadedModel, load_model
from mmfeat.models.tasks import Task

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Prediction:
    """The predictions of some records.

    Attributes:
        scores: float32, shape (rows, outputs): calibrated probabilities, or values in the unit of
            the target. NaN if a record has none of the modalities that the model needs.
        weights: float32, shape (rows, modalities): weight of each modality; None if the fusion has
            none.
        problems: one dict per record: column → why it has no feature, `missing` if no input was
            given.
        columns: names of the modalities, in the order of the weights.
    """

    scores: np.ndarray
    weights: np.ndarray | None
    problems: Sequence[Mapping[str, str]]
    columns: Sequence[str]
    _table: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return one row per record, with the columns that `mmfeat score` writes."""
        return self._table

    def to_pandas(self) -> "pandas.DataFrame":
        """Return `to_arrow` as a pandas data frame."""
        return to_pandas(self._table)

    @property
    def labels(self) -> list[Any]:
        """The predicted class, labels or value of each record; None if it cannot be predicted."""
        return list(self._table["prediction"].to_pylist())

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"Prediction({self.labels})"


class TrainedModel(Store):
    """A model: the output of `mmfeat train`."""

    kind = "model"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.loaded: LoadedModel = load_model(self.path)
        self._encoders: dict[tuple[str, str], RawEncoder] = {}

    @property
    def module(self) -> torch.nn.Module:
        """The layers: a plain `torch.nn.Module`."""
        return self.loaded.module

    @property
    def columns(self) -> dict[str, Column]:
        """The feature columns that the model reads: name → shape and encoder."""
        return {column.name: column for column in self.loaded.columns}

    @property
    def classes(self) -> list[str]:
        """Names of the classes or labels, in the order of the scores; empty for a regression."""
        return list(self.loaded.task.config.get("classes", []))

    @property
    def facts(self) -> dict[str, Any]:
        """What the model is and needs."""
        config = self.loaded.config
        facts = {"task": self._task.name, "target": self.loaded.target, "fusion": config["fusion"]}
        facts |= {f"column {name}": column.summary for name, column in self.columns.items()}
        return facts | ({"classes": ", ".join(self.classes)} if self.classes else {})

    def predict(
        self,
        features: Mapping[str, np.ndarray] | None = None,
        *,
        encoders: Mapping[str, str] | None = None,
        device: str = "auto",
        **inputs: Any,
    ) -> Prediction:
        """Predict records from features, or from raw inputs.

        Args:
            features: column → float16 or float32, shape (rows, dim), or (rows, tokens, dim). A
                vector with NaN is absent, and so is a column that is not given.
            encoders: column → encoder, as after the `=` of `--encoder`. It must have the weights
                of the training. Built-in encoders need not be named.
            device: device of the encoders, as `--device`.
            inputs: column → raw input: a text; or a path, bytes, a PIL image, or an array of
                uint8, shape (height, width, 3), for an image; a path or bytes for a sound. A list
                has one per record, None where it is missing.

        Raises:
            MmfeatError: unknown columns, or an encoder that cannot be loaded or is another one.
        """
        if features is not None:
            if inputs:
                raise MmfeatError("predict takes features or raw inputs", got="both")
            predictions = self.loaded.predict(features)
            return self._make_prediction(predictions, [{}] * len(predictions.scores))
        arrays, present, problems = self._encode(inputs, encoders or {}, device)
        return self._make_prediction(self.loaded.predict(arrays, present), problems)

    def decode_with(self, **options: Any) -> None:
        """Set how `predict` generates texts, for a model of the task describe.

        Args:
            options: the fields of `mmfeat.models.decoder.decoding_options.DecodingOptions`, as the
                flags of `mmfeat score`: `decoding="beam", beams=8`. Those not given have their
                defaults.

        Raises:
            MmfeatError: an option is unknown or out of range, or the model generates no texts.
        """
        self.loaded.decode_with(make_config(DecodingOptions, options, source="decode_with"))

    @property
    def _task(self) -> Task:
        return self.loaded.task

    def _encode(
        self, inputs: Mapping[str, Any], encoders: Mapping[str, str], device: str
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[dict[str, str]]]:
        """Return the features of all columns, which are present, and the problems of each row."""
        unknown = sorted(set(inputs) - set(self.columns))
        if unknown or not inputs:
            raise MmfeatError(
                f"predict needs inputs of the columns {', '.join(self.columns)}", got=unknown
            )
        lists = {name: v if isinstance(v, list) else [v] for name, v in inputs.items()}
        rows = {len(values) for values in lists.values()}
        if len(rows) > 1:
            sizes = {name: len(values) for name, values in lists.items()}
            raise MmfeatError("all inputs must have one value per record", got=sizes)
        count = rows.pop()
        not_given = {name: "missing" for name in self.columns if name not in lists}
        problems = [dict(not_given) for _ in range(count)]
        arrays, present = {}, {}
        for name, column in self.columns.items():
            vectors: list[np.ndarray | None] = [None] * count
            if name in lists:
                encoder = self._encoder(column, encoders.get(name), device)
                vectors, statuses = encoder.encode(lists[name])
                for row, status in enumerate(statuses):
                    if status.reason:
                        problems[row][name] = ": ".join(filter(None, [status.reason, status.error]))
            arrays[name], present[name] = stack_features(vectors, column)
        return arrays, present, problems

    def _encoder(self, column: Column, given: str | None, device: str) -> RawEncoder:
        stored = self.manifest.get("encoder_flags", {}).get(column.name, "")
        if given is None:
            named = stored.partition("=")[2]
            if not named.startswith("builtin:"):
                # The model may be a stranger's: a place that its files name is not read.
                raise MmfeatError(
                    f"the encoder of {column.name} must be named, since it is read from a place "
                    "outside of the model",
                    cure=f'Write predict(…, encoders={{"{column.name}": '
                    f'"{named or "SCHEME:NAME"}"}})',
                )
            given = named
        flag = f"{column.name}:{column.slot}={given}"
        if (flag, device) not in self._encoders:
            self._encoders[flag, device] = RawEncoder(column, flag, device)
        return self._encoders[flag, device]

    def _make_prediction(
        self, predictions: Predictions, problems: Sequence[Mapping[str, str]]
    ) -> Prediction:
        thresholds = self.loaded.module.thresholds.numpy()
        table = pa.table(
            {
                **self._task.to_columns(predictions.scores, thresholds, predictions.scorable),
                **predictions.weight_columns(self.loaded.column_names),
            }
        )
        return Prediction(
            predictions.scores, predictions.weights, problems, self.loaded.column_names, table
        )
