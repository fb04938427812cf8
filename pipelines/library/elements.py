"""The elements that pass between the transforms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class StoredSample:
    """A record with its media.

    Attributes:
        key: its `__key__`.
        media: slot (`image`, `text`, `text.desc`, …) → content of the file.
        reasons: slot → why the record has no such media.
    """

    key: str
    media: Mapping[str, bytes]
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EncodedSample:
    """A record with its features.

    Attributes:
        key: its `__key__`.
        features: column → float16 or float32, shape (dim,), or (tokens, dim) of a token column.
        reasons: column → why the record has no such feature.
        fingerprints: column → fingerprint of its encoder. A model refuses the features of another
            encoder. Columns without a fingerprint are not checked.
    """

    key: str
    features: Mapping[str, np.ndarray]
    reasons: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
