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

    Raises:
        MmfeatError: the encoder cannot be loaded, or is not the one that made the column.
    """

    def __init__(self, column: Column, flag: str, device: str) -> None:
        self._column = column
        self._spec = EncoderSpec.parse(flag)
        precision = column.encoder.get("precision", "float32")
        self._encoder: Encoder = self._spec.load(Settings(device=device, precision=precision))
        # Without compiling: that takes longer than encoding a few inputs.
        compiled = bool(column.encoder.get("compiled"))
        loaded = describe_column(self._spec, self._encoder, compiled=compiled)
        if (loaded.fingerprint, loaded.modality) != (column.fingerprint, column.modality):
            raise MmfeatError(
                f"the encoder of {column.name} must be the one of the training, with the "
                f"fingerprint {column.fingerprint[:12]}",
                got=f"{flag} of {loaded.modality} with {loaded.fingerprint[:12]}",
                cure="Name that encoder with encoders=, or extract and train again",
            )

    def encode(self, values: Sequence[Any]) -> tuple[list[np.ndarray | None], list[RowStatus]]:
        """Return the feature of each value, None if it has none, and its status."""
        contents = [
            RowStatus("missing", "missing")
            if value is None
            else _read_input(value, self._column.modality)
            for value in values
        ]
        return encode_contents(self._encoder, contents, self._column.shape, self._spec.normalize)


def _read_input(value: Any, modality: str) -> bytes | RowStatus:
    """Return the bytes of a raw input as a shard has them, or why there are none.

    Raises:
        MmfeatError: the value is of another type.
    """
    if isinstance(value, bytes):
        return value
    if modality == "text" and isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if modality != "text" and isinstance(value, str | os.PathLike):
        try:
            return Path(value).read_bytes()
        except OSError as error:
            return RowStatus("failed", "not_found", f"{value}: {error.strerror}")
    if modality == "image" and isinstance(value, np.ndarray | Image.Image):
        try:
            image = Image.fromarray(value) if isinstance(value, np.ndarray) else value
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
        except (ValueError, TypeError, OSError) as error:  # of Pillow
            return RowStatus("failed", "undecodable", f"no image: {error}")
        return buffer.getvalue()
    kinds = {
        "text": "a str or bytes",
        "image": "a path, bytes, a PIL image or an array of uint8",
        "audio": "a path or bytes",
    }
    raise MmfeatError(f"an input of {modality} must be {kinds[modality]}", got=type(value).__name__)
