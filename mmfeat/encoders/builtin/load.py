"""The scheme `builtin:`: encoders that need no download."""

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.settings import EncoderOptions, Settings, check_modality
from mmfeat.errors import MmfeatError, suggest

BUILTIN = {"image": "image", "audio": "audio", "text": "text", "ngrams": "text"}
"""Built-in encoder → its modality. The encoder named after a modality is its default."""


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load a built-in encoder.

    Raises:
        MmfeatError: no such encoder, or an encoder of another modality.
    """
    if name not in BUILTIN:
        close = suggest(name, BUILTIN, cutoff=0.4)
        known = ", ".join(f"builtin:{name}" for name in BUILTIN)
        raise MmfeatError(
            "--encoder must name a known built-in encoder",
            got=f"builtin:{name}",
            cure=f"Did you mean builtin:{close}?" if close else f"Encoders: {known}",
        )
    check_modality(f"builtin:{name}", [BUILTIN[name]], modality)
    _use_one_blas_thread()
    return _make(name, options)


def _make(name: str, options: EncoderOptions) -> Encoder:
    if name == "image":
        from mmfeat.encoders.builtin.image import ImageDescriptor

        return ImageDescriptor(directions=options.get_int("directions", 12, 4, 36))
    if name == "text":
        from mmfeat.encoders.builtin.text import TextNgrams

        return TextNgrams(dim=options.get_int("dim", 4096, 64, 1 << 20))
    if name == "ngrams":
        from mmfeat.encoders.builtin.ngrams import HashedNgrams

        return HashedNgrams(dim=options.get_int("dim", 8192, 64, 1 << 20))
    from mmfeat.encoders.builtin.audio import LogMelStatistics

    return LogMelStatistics()


def _use_one_blas_thread() -> None:
    """Let numpy multiply matrices in the calling thread, in the whole process.

    Its threads would change the last bits of features, and wait for each other in the many threads
    that decode.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
