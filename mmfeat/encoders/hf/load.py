"""The scheme `hf:`: checkpoints of transformers, from the hub or a directory."""

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.neural.loading import loading_errors
from mmfeat.encoders.settings import EncoderOptions, Settings


def load(name: str, modality: str, options: EncoderOptions, settings: Settings) -> Encoder:
    """Load `hf:NAME` or `hf:NAME@REVISION`. NAME is a name on the hub or a directory.

    Options: `output` is `projected` (in the space shared with another modality; the default if the
    model has one), `pooled` (one vector before the projection) or `tokens` (at most `max_tokens`
    vectors). Pooled texts also have `pooling`.

    Raises:
        MmfeatError: no such checkpoint or output, or not a checkpoint of this modality.
    """
    checkpoint = Checkpoint.load(name, modality, settings)
    with loading_errors(checkpoint.title):
        if modality == "image":
            from mmfeat.encoders.hf.image import HfImage

            return HfImage(checkpoint, options, settings)
        if modality == "text":
            from mmfeat.encoders.hf.text import HfText

            return HfText(checkpoint, options, settings)
        from mmfeat.encoders.hf.audio import HfAudio

        return HfAudio(checkpoint, options, settings)
