"""The scheme `hf:`: checkpoints of transformers, from the hub or from a directory."""

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.hf.checkpoint import Checkpoint
from mmfeat.encoders.loading import one_line
from mmfeat.encoders.options import Options
from mmfeat.encoders.settings import Settings


def load(name: str, modality: str, options: Options, settings: Settings) -> Encoder:
    """`hf:NAME` or `hf:NAME@REVISION`; NAME is a name on the hub or a directory.

    Options: `output` is `projected` (into the space that pictures or sounds share with texts; the
    default where there is one), `pooled` (one vector, before any projection) or `tokens` (at most
    `max_tokens` vectors); texts that are pooled also have `pooling`.

    Raises:
        MmfeatError: no such checkpoint, not one of this modality, no such output.
    """
    checkpoint = Checkpoint.open(name, modality, settings)
    with one_line(checkpoint.title):
        if modality == "image":
            from mmfeat.encoders.hf.image import HfImage

            return HfImage(checkpoint, options, settings)
        if modality == "text":
            from mmfeat.encoders.hf.text import HfText

            return HfText(checkpoint, options, settings)
        from mmfeat.encoders.hf.audio import HfAudio

        return HfAudio(checkpoint, options, settings)
