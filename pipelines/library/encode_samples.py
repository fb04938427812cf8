"""Encode the media of records with frozen encoders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from mmfeat.encoders import Encoder, EncoderSpec, Precision, Settings
from mmfeat.errors import MmfeatError
from mmfeat.extraction import describe_column, encode_contents
from mmfeat.features import Column, RowStatus
from pipelines.library.elements import EncodedSample, StoredSample

_BATCH = {"min_batch_size": 16, "max_batch_size": 512}


class _ColumnEncoder(NamedTuple):
    """A loaded encoder and the column that it makes."""

    spec: EncoderSpec
    encoder: Encoder
    column: Column


class _Loaded(dict[str, _ColumnEncoder]):
    """Column → encoder. `Shared` needs an object that allows weak references."""


def encode_samples(
    samples: Sequence[StoredSample], encoders: Mapping[str, _ColumnEncoder]
) -> Iterator[EncodedSample]:
    """Encode a batch of records.

    Args:
        samples: the records.
        encoders: column → encoder.
    """
    columns = {name: _encode_column(samples, encoder) for name, encoder in encoders.items()}
    fingerprints = {name: encoder.column.fingerprint for name, encoder in encoders.items()}
    for row, sample in enumerate(samples):
        features, reasons = {}, {}
        for name, (vectors, statuses) in columns.items():
            if (vector := vectors[row]) is not None:
                features[name] = vector
            else:
                reasons[name] = statuses[row].reason or "missing"
        yield EncodedSample(sample.key, features, reasons, fingerprints)


def _encode_column(
    samples: Sequence[StoredSample], loaded: _ColumnEncoder
) -> tuple[list[np.ndarray | None], list[RowStatus]]:
    slot = loaded.spec.slot
    contents = [
        sample.media[slot]
        if slot in sample.media
        else RowStatus("missing", sample.reasons.get(slot, "missing"))
        for sample in samples
    ]
    return encode_contents(loaded.encoder, contents, loaded.column.shape, loaded.spec.normalize)


@beam.typehints.with_input_types(StoredSample)
@beam.typehints.with_output_types(EncodedSample)
@dataclass
class EncodeSamples(beam.PTransform):
    """Encodes the media of records. Every record comes out, with features or reasons.

    The features are those of `mmfeat extract --precision PRECISION` with the same encoders. Each
    worker process loads the encoders once.

    Args:
        encoders: as values of `--encoder`, `COLUMN[:SLOT]=SCHEME:NAME`. A column without a slot
            reads the slot of its modality.
        device: as `--device`.
        precision: as `--precision`, but `auto` is not measured: name one.
    """

    encoders: Sequence[str]
    device: str = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        super().__init__()
        if isinstance(self.encoders, str) or not self.encoders:
            raise MmfeatError(
                "EncodeSamples needs a list of encoders", got=self.encoders, cure="Pass a list"
            )
        specs = [EncoderSpec.parse(text) for text in self.encoders]
        self._specs = [spec.bind([spec.slot or spec.modality]) for spec in specs]
        if self.precision == "auto":
            raise MmfeatError(
                "EncodeSamples does not measure which precision is fastest",
                got=self.precision,
                cure="Name float32, float16 or bfloat16",
            )
        self._settings = Settings(device=self.device, precision=self.precision)

    def expand(self, samples: beam.PCollection) -> beam.PCollection:
        """Collect batches of records and encode them."""
        encode = beam.ParDo(_Encode(self._specs, self._settings, Shared()))
        return samples | "Batch" >> beam.BatchElements(**_BATCH) | "Encode" >> encode


class _Encode(beam.DoFn):
    """Encodes batches of records."""

    def __init__(self, specs: Sequence[EncoderSpec], settings: Settings, shared: Shared) -> None:
        self._specs, self._settings, self._shared = specs, settings, shared

    def setup(self) -> None:
        self._encoders = self._shared.acquire(self._load)

    def _load(self) -> _Loaded:
        loaded = _Loaded()
        for spec in self._specs:
            encoder = spec.load(self._settings)
            loaded[spec.column] = _ColumnEncoder(spec, encoder, describe_column(spec, encoder))
        return loaded

    def process(self, samples: list[StoredSample]) -> Iterator[EncodedSample]:
        yield from encode_samples(samples, self._encoders)
