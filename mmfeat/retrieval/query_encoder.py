"""Encode a text or an image with the encoder of a column, or with the other tower of its
checkpoint."""

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import Column, FeatureShape, FeatureStore
from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.searched_column import normalize
from mmfeat.storage import files

if TYPE_CHECKING:
    from mmfeat.encoders import Encoder, EncoderSpec
    from mmfeat.encoders.settings import Precision

_MAX_IMAGE_BYTES = 256 << 20


def encode_query(config: SearchConfig, store: FeatureStore, column: Column) -> np.ndarray:
    """Return the vector of the text or image, float32, shape (d,), of length 1.

    Args:
        config: the options.
        store: the features.
        column: a column that shares a space with the query.

    Raises:
        MmfeatError: the encoder must be named, cannot be loaded or did not make the column, or it
            cannot encode the query.
    """
    from mmfeat.encoders import EncoderSpec
    from mmfeat.extraction import encode_contents

    modality = "text" if config.text else "image"
    spec = EncoderSpec.parse(f"{column.name}:{column.slot}={_named_encoder(config, store, column)}")
    encoder = _load_checked(spec, column, column.encoder.get("precision", "float32"))
    if column.modality != modality:  # the checkpoint is the one of the column
        spec = replace(spec, column="query", modality=modality, slot=modality)
        encoder = _load(spec, "float32")
    shape = FeatureShape(encoder.dim, "float32", encoder.max_tokens)
    vectors, statuses = encode_contents(encoder, [_read_input(config)], shape, spec.normalize)
    unit = None if vectors[0] is None else normalize(vectors[0][None])
    if unit is None or not unit[1][0]:
        reason = ": ".join(filter(None, [statuses[0].reason, statuses[0].error])) or "it is 0"
        raise MmfeatError(f"{query_title(config)} cannot be encoded: {reason}")
    vector: np.ndarray = unit[0][0]
    return vector


def query_title(config: SearchConfig) -> str:
    """Return what is searched for, for people."""
    if config.like:
        return f"record {config.like!r}"
    return f"the text {config.text!r}" if config.text else f"the image {config.image}"


def _load(spec: "EncoderSpec", precision: "Precision") -> "Encoder":
    from mmfeat.encoders import Settings

    return spec.load(Settings(device="cpu", precision=precision))


def _load_checked(spec: "EncoderSpec", column: Column, precision: "Precision") -> "Encoder":
    """Load an encoder and check that it made a column."""
    from mmfeat.extraction import describe_column

    encoder = _load(spec, precision)
    made = describe_column(spec, encoder, compiled=bool(column.encoder.get("compiled")))
    if made.fingerprint != column.fingerprint:
        raise MmfeatError(
            f"the encoder must be the one of column {column.name}, with the fingerprint "
            f"{column.fingerprint[:12]}",
            got=f"{spec.scheme}:{spec.name} with {made.fingerprint[:12]}",
            cure="Name that encoder with --encoder",
        )
    return encoder


def _named_encoder(config: SearchConfig, store: FeatureStore, column: Column) -> str:
    stored = store.encoder_flags.get(column.name, "").partition("=")[2]
    if config.encoder:
        return config.encoder
    if not stored.startswith("builtin:"):
        raise MmfeatError(
            f"the encoder of {column.name} must be named, since it is read from a place outside "
            "of the store",
            cure=f"Add --encoder {shlex.quote(stored) if stored else 'SCHEME:NAME'}",
        )
    return stored


def _read_input(config: SearchConfig) -> bytes:
    if config.text:
        return config.text.encode("utf-8", "surrogatepass")
    if files.size(config.image) is None:
        raise MmfeatError("there is no such image file (--image)", got=config.image)
    content = files.read_bytes(config.image, _MAX_IMAGE_BYTES)
    if len(content) > _MAX_IMAGE_BYTES:
        raise MmfeatError(f"--image must have at most {_MAX_IMAGE_BYTES:,} bytes", got=config.image)
    return content
