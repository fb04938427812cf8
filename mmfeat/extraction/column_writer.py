"""Writing one feature column of one shard: encode in batches, restore the order, count each row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mmfeat.encoders import Encoder, EncoderSpec, fingerprint
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.autotune import Settled
from mmfeat.extraction.batching import batches
from mmfeat.features.column_format import OK, Column, FeatureShape, RowStatus, column_schema, make_column_batch
from mmfeat.store import files
from mmfeat.store.directory import Receipt, keys_digest

COLUMN = "column.json"


def read_settled(folder: str) -> Settled | None:
    """What was settled for a column when it was begun; None for a new one."""
    found = files.read_json(files.join(folder, COLUMN))
    return Settled(**found["settled"]) if found else None


def claim_column(folder: str, spec: EncoderSpec, encoder: Encoder, settled: Settled) -> Column:
    """Take a column's folder for one encoder, or go on with it.

    Raises:
        MmfeatError: the column was made by another encoder; says both fingerprints.
    """
    identity = {**encoder.identity(), "dtype": spec.dtype}
    if spec.normalize:
        identity["normalize"] = True
    column = Column(
        name=spec.column,
        modality=encoder.modality,
        dim=encoder.dim,
        fingerprint=fingerprint(identity),
        encoder=identity,
        dtype=spec.dtype,
        max_tokens=encoder.max_tokens,
    )
    found = files.read_json(files.join(folder, COLUMN))
    if found is None:
        facts = {**vars(column), "settled": asdict(settled)}
        files.write_json(files.join(folder, COLUMN), facts)
    elif found["fingerprint"] != column.fingerprint:
        old = found["encoder"]
        differing = sorted(k for k in {*old, *identity} if old.get(k) != identity.get(k))
        raise MmfeatError(
            f"column {spec.column} in {folder} was made by another encoder "
            f"(fingerprint {found['fingerprint'][:12]} there, {column.fingerprint[:12]} now; "
            f"they differ in {', '.join(differing)})",
            cure="Give the new encoder a column name of its own",
        )
    return column


class ColumnWriter:
    """Encodes the rows of one shard into one column file.

    Use it as a context manager: the file appears when the block ends well. `commit` then writes
    the receipt.

    Args:
        folder: of the column.
        shard: its name.
        column: what is claimed.
        encoder: the encoder of that column.
        batch_size: records encoded at a time at most.
        normalize: whether each vector is brought to length 1.
    """

    def __init__(
        self,
        folder: str,
        shard: str,
        column: Column,
        encoder: Encoder,
        *,
        batch_size: int,
        normalize: bool = False,
    ) -> None:
        self._folder, self._shard = folder, shard
        self._column, self._encoder = column, encoder
        self._batch_size, self._normalize = batch_size, normalize
        self._file = f"{shard}.arrow"
        self._keys: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._status: Counter[str] = Counter()
        self._bytes_read = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            path = files.join(self._folder, self._file)
            self._output = stack.enter_context(files.create(path))
            schema = column_schema(self._column.shape)
            self._arrow = stack.enter_context(pa.ipc.new_file(self._output, schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> None:
        """Encode a window of rows and append it.

        Args:
            keys: of the rows.
            items: the encoder's input of each row, or an `RowStatus` where it has none.
            bytes_read: of the members that were decoded.
        """
        outcomes = [item if isinstance(item, RowStatus) else OK for item in items]
        features: list[np.ndarray | None] = [None] * len(items)
        rows = [row for row, item in enumerate(items) if not isinstance(item, RowStatus)]
        lengths = [self._encoder.length(items[row]) for row in rows]
        for batch in batches(lengths, self._batch_size, self._encoder.budget):
            there = [rows[index] for index in batch]
            results = encode_each(
                self._encoder, [items[row] for row in there], self._column.shape, self._normalize
            )
            for row, result in zip(there, results, strict=True):
                if isinstance(result, RecordError):
                    outcomes[row] = RowStatus("failed", result.reason, result.detail)
                else:
                    features[row] = result
        self._arrow.write_batch(make_column_batch(features, outcomes, self._column.shape))
        self._keys += keys
        self._bytes_read += bytes_read
        for outcome in outcomes:
            self._status[outcome.status] += 1
            if outcome is not OK:
                self._rejected[str(outcome.reason)] += 1

    def commit(self, source: Mapping[str, Any], *, seconds: float) -> None:
        """Write the receipt."""
        Receipt(
            shard=self._shard,
            config_hash=self._column.fingerprint,
            records=len(self._keys),
            out=self._status["ok"],
            rejected=dict(self._rejected),
            status=dict(self._status),
            files={self._file: self._output.describe()},
            keys_sha256=keys_digest(self._keys),
            source=dict(source),
            bytes_read=self._bytes_read,
            seconds=round(seconds, 3),
        ).write(self._folder)


def encode_each(
    encoder: Encoder, inputs: Sequence[Any], shape: FeatureShape, normalize: bool = False
) -> list[np.ndarray | RecordError]:
    """A feature of each input; where a batch fails it is split until the bad one is alone.

    Args:
        encoder: makes the features.
        inputs: decoded inputs.
        shape: what features look like; they are cast to its dtype.
        normalize: whether each vector is brought to length 1 before.

    Returns:
        One array of shape (dim,), or (tokens, dim) of tokens, or one error, an input.
    """
    if not inputs:
        return []
    try:
        features = encoder.encode(inputs)
    except Exception as error:
        if len(inputs) == 1:
            return [RecordError("encoder_failed", f"{type(error).__name__}: {error}")]
        middle = len(inputs) // 2
        return [
            result
            for half in (inputs[:middle], inputs[middle:])
            for result in encode_each(encoder, half, shape, normalize)
        ]
    if len(features) != len(inputs):
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return {len(inputs)} features", got=len(features)
        )
    return [_checked(encoder, feature, shape, normalize) for feature in features]


def _checked(
    encoder: Encoder, feature: np.ndarray, shape: FeatureShape, normalize: bool
) -> np.ndarray | RecordError:
    """A feature as it is kept, or why it cannot be."""
    dimensions = 2 if shape.max_tokens else 1
    if feature.ndim != dimensions or feature.shape[-1] != shape.dim:
        wanted = f"(tokens, {shape.dim})" if shape.max_tokens else f"({shape.dim},)"
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return features of shape {wanted}",
            got=feature.shape,
        )
    if shape.max_tokens and not 0 < len(feature) <= shape.max_tokens:
        return RecordError("encoder_failed", f"{len(feature)} tokens, 1 to {shape.max_tokens} fit")
    if normalize:
        length = np.linalg.norm(feature.astype(np.float64), axis=-1, keepdims=True)
        feature = feature / np.maximum(length, np.finfo(np.float32).tiny)
    with np.errstate(over="ignore"):
        kept = feature.astype(shape.dtype)
    if not np.isfinite(kept).all():
        return RecordError("not_finite", f"NaN or out of the range of {shape.dtype}")
    return kept
