"""Encode one batch: find the inputs that fail, check the features, and cast them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.features import FeatureShape


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
