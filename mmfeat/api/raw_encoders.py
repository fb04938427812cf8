"""Encode raw inputs with the encoder of a feature column, as `mmfeat extract` does."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.errors import MmfeatError
from mmfeat.extraction import describe_column, encode_contents
from mmfeat.features import Column, RowStatus


class RawEncoder:
    """The encoder of a feature column, loaded once and checked.

    Args:
        column: the column of the model.
        flag: the encoder, as `--encoder` names it.
        device: device of the encoder.
        allow_import: whether the flag may be `MODULE:FUNCTION`.

    Raises:
        MmfeatError: the encoder cannot be loaded, or is not the one that made the column.
    """

    def __init__(self, column: Column, flag: str, device: str, *, allow_import: bool) -> None:
        self._column = column
        self._spec = EncoderSpec.parse(flag, allow_import=allow_import)
        precision = column.encoder.get("precision", "float32")
        self._encoder: Encoder = self._spec.load(Settings(device=device, precision=precision))
        fingerprint = describe_column(self._spec, self._encoder).fingerprint
        if fingerprint != column.fingerprint:
            raise MmfeatError(
                f"the encoder of {column.name} must be the one of the training, with the "
                f"fingerprint {column.fingerprint[:12]}",
                got=f"{flag} with {fingerprint[:12]}",
                cure="Name that encoder with encoders=, or extract and train again",
            )

    def encode(self, values: Sequence[Any]) -> tuple[list[np.ndarray | None], list[RowStatus]]:
        """Return the feature of each value, None if it has none, and its status."""
        contents = [
            RowStatus("missing", "missing")
            if value is None
            else _to_bytes(value, self._column.modality)
            for value in values
        ]
        return encode_contents(self._encoder, contents, self._column.shape, self._spec.normalize)


def _to_bytes(value: Any, modality: str) -> bytes:
    """Return the bytes of a raw input as a shard has them.

    Raises:
        MmfeatError: the value is of another type.
    """
    if isinstance(value, bytes):
        return value
    if modality == "text" and isinstance(value, str):
        return value.encode()
    if modality != "text" and isinstance(value, str | os.PathLike):
        return Path(value).read_bytes()
    if modality == "image":
        if isinstance(value, np.ndarray) and value.dtype == np.uint8:
            value = Image.fromarray(value)
        if isinstance(value, Image.Image):
            buffer = io.BytesIO()
            value.save(buffer, "PNG")
            return buffer.getvalue()
    kinds = {
        "text": "a str or bytes",
        "image": "a path, bytes, a PIL image or an array of uint8",
        "audio": "a path or bytes",
    }
    raise MmfeatError(f"an input of {modality} must be {kinds[modality]}", got=type(value).__name__)
