"""Batches: records of similar length together, failing inputs found, features checked and cast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmfeat.encoders import CompileError, Encoder
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.encoding.decode import decode_content
from mmfeat.features import OK, FeatureShape, RowStatus
from mmfeat.shards import Content


class BatchTooLargeError(MmfeatError):
    """The memory of the GPU does not hold a batch.

    Attributes:
        size: records of the batch.
        column: the column; its writer sets it.
    """

    column = ""

    def __init__(self, size: int) -> None:
        super().__init__("the memory of the GPU must hold a batch", got=f"{size} records")
        self.size = size


@dataclass
class EncodedBatch:
    """The features of a batch. Iterating yields a feature or an error per input.

    Attributes:
        features: in the dtype of the column: an array of shape (inputs, dim), zeros where there is
            an error; for a token column one array of shape (tokens, dim) per input, or None.
        errors: index of an input → why it has no feature.
    """

    features: np.ndarray | list[np.ndarray | None]
    errors: dict[int, RecordError] = field(default_factory=dict)

    def __iter__(self) -> Iterator[np.ndarray | RecordError]:
        for index, feature in enumerate(self.features):
            yield self.errors.get(index, feature)

    def __add__(self, other: "EncodedBatch") -> "EncodedBatch":
        size = len(self.features)
        errors = self.errors | {size + index: error for index, error in other.errors.items()}
        if isinstance(self.features, np.ndarray):
            return EncodedBatch(np.concatenate([self.features, other.features]), errors)
        return EncodedBatch([*self.features, *other.features], errors)


def encode_batch(
    encoder: Encoder,
    inputs: Sequence[Any],
    shape: FeatureShape,
    normalize: bool = False,
    *,
    split_large: bool = True,
) -> EncodedBatch:
    """Encode a batch. If it fails, split it until the failing inputs are alone.

    Args:
        encoder: the encoder.
        inputs: decoded inputs.
        shape: required shape; features are cast to its dtype.
        normalize: whether to scale each vector to length 1 first.
        split_large: whether to split a batch that the memory of the GPU does not hold, too.

    Raises:
        BatchTooLargeError: the memory does not hold the batch, and it must not be split.
        RuntimeError: the GPU failed, so no input is to blame, and the shard must be made again.
        CompileError: the compiler failed, likewise.
    """
    try:
        features = encoder.encode(inputs) if inputs else []
    except Exception as error:
        if _is_fault_of_machine(error):
            raise
        size = max(len(inputs), encoder.padded_rows)
        if not split_large and size > 1 and type(error).__name__ == "OutOfMemoryError":
            raise BatchTooLargeError(size) from error
        if len(inputs) == 1:
            return _fail(error, shape)
        middle = len(inputs) // 2
        first, second = (
            encode_batch(encoder, half, shape, normalize, split_large=split_large)
            for half in (inputs[:middle], inputs[middle:])
        )
        return first + second
    if len(features) != len(inputs):
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return {len(inputs)} features", got=len(features)
        )
    if shape.max_tokens:
        return _cast_token_batch(encoder, features, shape, normalize)
    if not inputs:
        return _no_vectors(0, shape)
    for feature in features[:1] if isinstance(features, np.ndarray) else features:
        _check_shape(encoder, feature, shape)
    vectors, is_finite = _cast(np.asarray(features), shape, normalize)
    failed = np.flatnonzero(~is_finite)
    vectors[failed] = 0
    return EncodedBatch(vectors, {int(index): _not_finite(shape) for index in failed})


def encode_contents(
    encoder: Encoder,
    contents: Sequence[Content | RowStatus],
    shape: FeatureShape,
    normalize: bool = False,
) -> tuple[list[np.ndarray | None], list[RowStatus]]:
    """Decode and encode the bytes of some records.

    Args:
        encoder: the encoder.
        contents: the bytes of each record, or the status of a record without them.
        shape: required shape.
        normalize: whether to scale each vector to length 1.

    Returns:
        The feature of each record, shape (dim,) or (tokens, dim), None if it has none; and its
        status.
    """
    items = [
        content
        if isinstance(content, RowStatus)
        else decode_content(encoder, encoder.decode, content)
        for content in contents
    ]
    statuses = [item if isinstance(item, RowStatus) else OK for item in items]
    features: list[np.ndarray | None] = [None] * len(items)
    rows = [row for row, status in enumerate(statuses) if status is OK]
    lengths = [encoder.length(items[row]) for row in rows]
    for indices in batch_by_length(lengths, encoder.batch_size, encoder.budget):
        batch = [rows[index] for index in indices]
        results = encode_batch(encoder, [items[row] for row in batch], shape, normalize)
        for row, result in zip(batch, results, strict=True):
            if isinstance(result, RecordError):
                statuses[row] = RowStatus("failed", result.reason, result.detail)
            else:
                features[row] = result
    return features, statuses


def batch_by_length(
    lengths: Sequence[int], batch_size: int, budget: int | None
) -> Iterator[list[int]]:
    """Yield batches of indices of records of similar length, the longest first.

    A batch is padded to its longest record: it costs that length times its number of records. The
    longest batch comes first, so running out of memory shows at once.

    Args:
        lengths: cost of each record.
        batch_size: maximum number of records per batch.
        budget: maximum cost of a batch; None = no limit. A single record may exceed it.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else lengths[index]
        if len(batch) == batch_size or (budget and batch and longest * (len(batch) + 1) > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _fail(error: Exception, shape: FeatureShape) -> EncodedBatch:
    """Return the result of a single input that cannot be encoded."""
    if not isinstance(error, RecordError):
        error = RecordError("encoder_failed", f"{type(error).__name__}: {error}")
    batch = EncodedBatch([None]) if shape.max_tokens else _no_vectors(1, shape)
    batch.errors[0] = error
    return batch


def _no_vectors(count: int, shape: FeatureShape) -> EncodedBatch:
    return EncodedBatch(np.zeros((count, shape.dim), shape.dtype))


def _check_shape(encoder: Encoder, feature: np.ndarray, shape: FeatureShape) -> None:
    if feature.ndim != (2 if shape.max_tokens else 1) or feature.shape[-1] != shape.dim:
        required = f"(tokens, {shape.dim})" if shape.max_tokens else f"({shape.dim},)"
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return features of shape {required}",
            got=feature.shape,
        )


def _cast_token_batch(
    encoder: Encoder,
    features: Sequence[np.ndarray] | np.ndarray,
    shape: FeatureShape,
    normalize: bool,
) -> EncodedBatch:
    batch = EncodedBatch([None] * len(features))
    for index, feature in enumerate(features):
        _check_shape(encoder, feature, shape)
        result = _cast_tokens(feature, shape, normalize)
        if isinstance(result, RecordError):
            batch.errors[index] = result
        else:
            batch.features[index] = result
    return batch


def _is_fault_of_machine(error: Exception) -> bool:
    """Return whether the compiler failed, or CUDA, after which the process cannot use the GPU."""
    if isinstance(error, CompileError):
        return True
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
