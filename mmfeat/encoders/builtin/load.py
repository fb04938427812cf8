"""The scheme `builtin:`: encoders that need no download."""

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError, suggest

BUILTIN = ("image", "audio", "text")
"""Modalities with a built-in encoder."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `builtin:image`, `builtin:audio` or `builtin:text`.

    Raises:
        MmfeatError: no such encoder, or an encoder of another modality.
    """
    encoder: Encoder
    if name == "image":
        from mmfeat.encoders.builtin.image import ImageDescriptor

        encoder = ImageDescriptor(directions=options.get_int("directions", 12, 4, 36))
    elif name == "text":
        from mmfeat.encoders.builtin.text import TextNgrams

        encoder = TextNgrams(dim=options.get_int("dim", 4096, 64, 1 << 20))
    elif name == "audio":
        from mmfeat.encoders.builtin.audio import LogMelStatistics

        encoder = LogMelStatistics()
    else:
        close = suggest(name, BUILTIN, cutoff=0.4)
        known = ", ".join(f"builtin:{name}" for name in BUILTIN)
        raise MmfeatError(
            "--encoder must name a known built-in encoder",
            got=f"builtin:{name}",
            cure=f"Did you mean builtin:{close}?" if close else f"Encoders: {known}",
        )
    check_modality(f"builtin:{name}", [encoder.modality], modality)
    _use_one_blas_thread()
    return encoder


def _use_one_blas_thread() -> None:
    """Let numpy multiply matrices in the calling thread, in the whole process.

    Its threads would change the last bits of features, and wait for each other in the many threads
    that decode.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
