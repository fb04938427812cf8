"""Load the encoders of columns that were started. The workers of a process share them."""

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.extraction.tuning import TunedSettings

_LOADED: dict[tuple[EncoderSpec, Settings], Encoder] = {}


def load_encoder(spec: EncoderSpec, settings: Settings, tuned: TunedSettings) -> Encoder:
    """Load the encoder of a column, or return it if this process has loaded it.

    Args:
        spec: the encoder.
        settings: settings of the command, with what the column was tuned to.
        tuned: the settings it was started with.

    Raises:
        CompileError: this machine cannot compile the forward pass.
    """
    if encoder := _LOADED.get((spec, settings)):
        return encoder
    encoder = spec.load(settings)
    return encoder.compiled(tuned.usable_batch_size) if tuned.compile else encoder


def keep_encoder(spec: EncoderSpec, settings: Settings, encoder: Encoder) -> None:
    """Let `load_encoder` return an encoder that is loaded already."""
    _LOADED[spec, settings] = encoder


def forget_encoders() -> None:
    """Free the encoders that this process has loaded."""
    _LOADED.clear()
