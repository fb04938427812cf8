"""Write one feature column of one shard: encode in batches, restore the row order, count rows."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mmfeat.encoders import Encoder, EncoderSpec, fingerprint
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.autotune import TunedSettings
from mmfeat.extraction.batching import batch_by_length
from mmfeat.features import (
    OK,
    Column,
    FeatureShape,
    RowStatus,
    TableFiles,
    column_schema,
    make_column_batch,
)
from mmfeat.storage import SMALL_BYTES, check_value, files, read_document
from mmfeat.store import Receipt, describe_differences, keys_digest

COLUMN = "column.json"


def read_tuned_settings(folder: str) -> TunedSettings | None:
    """Read the settings a column was started with; None if the column is new."""
    path = files.join(folder, COLUMN)
    description = read_document(path, dict[str, Any], SMALL_BYTES)
    return check_value(description.get("settled"), TunedSettings, path) if description else None


def claim_column(folder: str, spec: EncoderSpec, encoder: Encoder, tuned: TunedSettings) -> Column:
    """Start a column in a folder, or continue the column of the same encoder.

    Raises:
        MmfeatError: another encoder made the column in this folder.
    """
    identity = {**encoder.identity(), "dtype": spec.dtype}
    if spec.normalize:
        identity["normalize"] = True
    if spec.slot not in ("", spec.modality):
        identity["slot"] = spec.slot.lower()
    column = Column(
        name=spec.column,
        modality=encoder.modality,
        dim=encoder.dim,
        fingerprint=fingerprint(identity),
        encoder=identity,
        dtype=spec.dtype,
        max_tokens=encoder.max_tokens,
    )
    existing = read_document(files.join(folder, COLUMN), Column, SMALL_BYTES)
    if existing is None:
        description = {**vars(column), "settled": asdict(tuned)}
        files.write_json(files.join(folder, COLUMN), description)
    elif existing.fingerprint != column.fingerprint:
        raise MmfeatError(
            f"column {spec.column} in {folder} was made by another encoder (fingerprint "
            f"{existing.fingerprint[:12]}, now {column.fingerprint[:12]}; different: "
            f"{describe_differences(existing.facts, column.facts)})",
            cure="Give the new encoder another column name",
        )
    return column


_MAX_WINDOWS = 2
"""Windows that wait for their batches, if several batches are encoded at the same time."""


@dataclass
class _Window:
    """Rows that are being encoded.

    Attributes:
        keys: key of each row.
        items: the encoder input of each row, or a `RowStatus` if it has none.
        bytes_read: bytes of the members that were decoded.
        batches: rows of each batch, and a function that returns its results.
    """

    keys: Sequence[str]
    items: Sequence[Any]
    bytes_read: int
    batches: "list[tuple[list[int], Callable[[], list[np.ndarray | RecordError]]]]" = field(
        default_factory=list
    )

    def finish(self) -> tuple[list[np.ndarray | None], list[RowStatus]]:
        """Return the feature of each row, None if it has none, and its status."""
        statuses = [item if isinstance(item, RowStatus) else OK for item in self.items]
        features: list[np.ndarray | None] = [None] * len(self.items)
        for rows, get_results in self.batches:
            for row, result in zip(rows, get_results(), strict=True):
                if isinstance(result, RecordError):
                    statuses[row] = RowStatus("failed", result.reason, result.detail)
                else:
                    features[row] = result
        return features, statuses


class ColumnWriter:
    """Encode the rows of one shard into one column file.

    Use it as a context manager: the file appears when the block ends without an error. Then
    `commit` writes the receipt.

    Args:
        table: where the column is written.
        shard: name of the shard.
        column: the claimed column.
        encoder: its encoder.
        batch_size: maximum number of records per batch.
        normalize: whether to scale each vector to length 1.
    """

    def __init__(
        self,
        table: TableFiles,
        shard: str,
        column: Column,
        encoder: Encoder,
        *,
        batch_size: int,
        normalize: bool = False,
    ) -> None:
        self._table, self._shard = table, shard
        self._column, self._encoder = column, encoder
        self._batch_size, self._normalize = batch_size, normalize
        self._attempt = table.attempt(shard)
        self._keys: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._status: Counter[str] = Counter()
        self._bytes_read = 0
        self._pool: ThreadPoolExecutor | None = None
        self._windows: deque[_Window] = deque()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if (threads := self._encoder.parallel_batches) > 1:
                self._pool = ThreadPoolExecutor(threads)
                stack.callback(self._pool.shutdown, cancel_futures=True)
            name = self._table.receipt_name(f"{self._shard}.arrow")
            output = stack.enter_context(self._attempt.create(name))
            schema = column_schema(self._column.shape)
            self._arrow = stack.enter_context(pa.ipc.new_file(output, schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._append_windows(0)

    def encode(self, items: Sequence[Any]) -> tuple[list[np.ndarray | None], list[RowStatus]]:
        """Return the feature of each row, None if it has none, and its status.

        Args:
            items: the encoder input of each row, or a `RowStatus` if it has none.
        """
        return self._start([], items, 0).finish()

    def _start(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> "_Window":
        """Start to encode the rows, or prepare it if batches are encoded one at a time."""
        window = _Window(keys, items, bytes_read)
        rows = [row for row, item in enumerate(items) if not isinstance(item, RowStatus)]
        lengths = [self._encoder.length(items[row]) for row in rows]
        for batch in batch_by_length(lengths, self._batch_size, self._encoder.budget):
            batch_rows = [rows[index] for index in batch]
            inputs = [items[row] for row in batch_rows]
            encode = partial(
                encode_batch, self._encoder, inputs, self._column.shape, self._normalize
            )
            result = self._pool.submit(encode).result if self._pool else encode
            window.batches.append((batch_rows, result))
        return window

    def write(self, keys: Sequence[str], items: Sequence[Any], bytes_read: int) -> None:
        """Encode a window of rows and append it to the file.

        Args:
            keys: key of each row.
            items: the encoder input of each row, or a `RowStatus` if it has none.
            bytes_read: bytes of the members that were decoded.
        """
        self._windows.append(self._start(keys, items, bytes_read))
        self._append_windows(_MAX_WINDOWS if self._pool else 0)

    def _append_windows(self, max_left: int) -> None:
        """Append windows to the file until at most `max_left` are still being encoded."""
        while len(self._windows) > max_left:
            self._append(self._windows.popleft())

    def _append(self, window: "_Window") -> None:
        features, statuses = window.finish()
        self._arrow.write_batch(make_column_batch(features, statuses, self._column.shape))
        self._keys += window.keys
        self._bytes_read += window.bytes_read
        for status in statuses:
            self._status[status.status] += 1
            if status is not OK:
                self._rejected[str(status.reason)] += 1

    def commit(self, source: Mapping[str, Any], *, seconds: float) -> None:
        """Write the receipt."""
        receipt = Receipt(
            shard=self._shard,
            config_hash=self._column.fingerprint,
            records=len(self._keys),
            out=self._status["ok"],
            rejected=dict(self._rejected),
            status=dict(self._status),
            keys_sha256=keys_digest(self._keys),
            source=dict(source),
            bytes_read=self._bytes_read,
            seconds=round(seconds, 3),
        )
        self._attempt.commit(receipt)


def encode_batch(
    encoder: Encoder, inputs: Sequence[Any], shape: FeatureShape, normalize: bool = False
) -> list[np.ndarray | RecordError]:
    """Encode a batch. If it fails, split it until the failing inputs are alone.

    Args:
        encoder: the encoder.
        inputs: decoded inputs.
        shape: required shape; features are cast to its dtype.
        normalize: whether to scale each vector to length 1 first.

    Returns:
        Per input one array of shape (dim,), or (tokens, dim) for a token column, or an error.

    Raises:
        RuntimeError: the GPU failed, so no input is to blame, and the shard must be made again.
    """
    if not inputs:
        return []
    try:
        features = encoder.encode(inputs)
    except Exception as error:
        if _is_fault_of_gpu(error):
            raise
        if len(inputs) == 1 and isinstance(error, RecordError):
            return [error]
        if len(inputs) == 1:
            return [RecordError("encoder_failed", f"{type(error).__name__}: {error}")]
        middle = len(inputs) // 2
        return [
            result
            for half in (inputs[:middle], inputs[middle:])
            for result in encode_batch(encoder, half, shape, normalize)
        ]
    if len(features) != len(inputs):
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return {len(inputs)} features", got=len(features)
        )
    for feature in features:
        if feature.ndim != (2 if shape.max_tokens else 1) or feature.shape[-1] != shape.dim:
            required = f"(tokens, {shape.dim})" if shape.max_tokens else f"({shape.dim},)"
            raise MmfeatError(
                f"{type(encoder).__name__}.encode must return features of shape {required}",
                got=feature.shape,
            )
    if not shape.max_tokens:
        vectors, is_finite = _cast(np.stack(list(features)), shape, normalize)
        return [v if ok else _not_finite(shape) for v, ok in zip(vectors, is_finite, strict=True)]
    return [_cast_tokens(feature, shape, normalize) for feature in features]


def _is_fault_of_gpu(error: Exception) -> bool:
    """Return whether torch reports an error of CUDA, after which the process cannot use the GPU."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def _cast_tokens(
    tokens: np.ndarray, shape: FeatureShape, normalize: bool
) -> np.ndarray | RecordError:
    """Cast the vectors of a record to the column's dtype; an error if they do not fit."""
    if not 0 < len(tokens) <= shape.max_tokens:
        return RecordError("encoder_failed", f"{len(tokens)} tokens, 1 to {shape.max_tokens} fit")
    vectors, is_finite = _cast(tokens, shape, normalize)
    return vectors if is_finite.all() else _not_finite(shape)


def _cast(
    vectors: np.ndarray, shape: FeatureShape, normalize: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors in the column's dtype, and a bool per vector: whether it is finite."""
    if normalize:
        norms = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
        vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    with np.errstate(over="ignore"):
        vectors = vectors.astype(shape.dtype)
    return vectors, np.isfinite(vectors).all(axis=-1)


def _not_finite(shape: FeatureShape) -> RecordError:
    return RecordError("not_finite", f"NaN or out of the range of {shape.dtype}")
