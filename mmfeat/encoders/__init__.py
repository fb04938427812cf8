"""Frozen encoders: one file or package per scheme, registered in `registry.SCHEMES`."""

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.registry import SCHEMES, EncoderSpec, builtin_for, fingerprint
from mmfeat.encoders.settings import EncoderOptions, Precision, Settings

__all__ = [
    "SCHEMES",
    "Encoder",
    "EncoderOptions",
    "EncoderSpec",
    "Precision",
    "Settings",
    "builtin_for",
    "fingerprint",
]
