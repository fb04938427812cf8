"""The base class of encoders of texts and sounds by transformers."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.hf.checkpoint import PROJECTIONS, TOWERS, Checkpoint
from mmfeat.encoders.loading import package_versions
from mmfeat.encoders.runtime import Runtime
from mmfeat.encoders.settings import EncoderOptions, Settings


class HfEncoder(Encoder):
    """An encoder of texts or sounds.

    Args:
        checkpoint: the model.
        options: `output` and `max_tokens` are read here.
        settings: settings of the command.
    """

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions, settings: Settings) -> None:
        self.checkpoint = checkpoint
        self.runtime = Runtime(checkpoint.model, settings, self.forward)
        self.on_gpu = self.runtime.on_gpu
        self.output, self.max_tokens = options.get_output(checkpoint.outputs)
        self._identity: dict[str, Any] = {}

    def identity(self) -> dict[str, Any]:
        return self._identity

    @abstractmethod
    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Compute the output: shape [batch, dim] or [batch, tokens, dim]."""

    def finish(self, settings: Settings, sample: Any, **facts: Any) -> None:
        """Set identity and dimension. Subclasses call this when they can encode.

        Args:
            settings: settings of the command.
            sample: an input of `encode`, to measure the dimension.
            **facts: entries of the identity that only this modality has.
        """
        self.dim = int(self.encode([sample])[0].shape[-1])
        self._identity = {
            **self.checkpoint.facts,
            "modality": self.modality,
            "output": self.output,
            "max_tokens": self.max_tokens,
            "precision": settings.precision,
            **facts,
            "versions": package_versions("transformers"),
        }


def find_tower(model: nn.Module, modality: str) -> Any:
    """Return the part of a model that reads a modality, without projection."""
    return getattr(model, f"{TOWERS[modality][0]}model", model)


def project(model: nn.Module, modality: str, **inputs: Tensor) -> Tensor:
    """Compute features in the space of two modalities, shape [batch, dim]."""
    method: Callable[..., Any] = getattr(model, PROJECTIONS[modality])
    result = method(**inputs)
    # transformers 5 returns a model output, with the projection as its pooled state.
    return result if isinstance(result, Tensor) else result.pooler_output
