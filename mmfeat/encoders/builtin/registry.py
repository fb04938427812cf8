"""The scheme `builtin:`: encoders that need no download."""

from difflib import get_close_matches

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.options import Options
from mmfeat.encoders.settings import Settings
from mmfeat.errors import MmfeatError

BUILTIN = ("image", "audio", "text")
"""Modalities with a built-in encoder."""


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`builtin:image`, `builtin:audio`, `builtin:text`.

    Raises:
        MmfeatError: no such encoder, or one of another modality.
    """
    encoder: Encoder
    if name == "image":
        from mmfeat.encoders.builtin.image import ImageDescriptor

        encoder = ImageDescriptor(directions=options.number("directions", 12, 4, 36))
    elif name == "text":
        from mmfeat.encoders.builtin.text import TextNgrams

        encoder = TextNgrams(dim=options.number("dim", 4096, 64, 1 << 20))
    elif name == "audio":
        from mmfeat.encoders.builtin.audio import LogMelStatistics

        encoder = LogMelStatistics()
    else:
        close = get_close_matches(name, BUILTIN, n=1, cutoff=0.4)
        raise MmfeatError(
            "there is no built-in encoder of that name",
            got=f"builtin:{name}",
            cure=f"Did you mean builtin:{close[0]}?"
            if close
            else f"There are: {', '.join(BUILTIN)}",
        )
    if encoder.modality != modality:
        raise MmfeatError(f"builtin:{name} encodes {encoder.modality}", got=modality)
    return encoder
