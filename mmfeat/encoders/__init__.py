"""Frozen encoders: one file or package per scheme, registered in `registry.SCHEMES`."""

from mmfeat.encoders.base import CompileError, Encoder
from mmfeat.encoders.registry import SCHEMES, EncoderSpec, builtin_for, fingerprint
from mmfeat.encoders.settings import Compile, Decode, EncoderOptions, Precision, Settings

__all__ = [
    "SCHEMES",
    "Compile",
    "CompileError",
    "Decode",
    "Encoder",
    "EncoderOptions",
    "EncoderSpec",
    "Precision",
    "Settings",
    "builtin_for",
    "fingerprint",
]
