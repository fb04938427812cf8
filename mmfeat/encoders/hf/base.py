"""What encoders of transformers have in common, whatever the modality."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmfeat.encoders.base import Encoder
from mmfeat.encoders.hf.checkpoint import PROJECTIONS, TOWERS, Checkpoint
from mmfeat.encoders.options import Options
from mmfeat.encoders.runtime import Runtime, versions
from mmfeat.encoders.settings import Settings


class HfEncoder(Encoder):
    """What encoders of all modalities share.

    Args:
        checkpoint: the model.
        options: `output` and `max_tokens` are read here.
        settings: how it runs.
    """

    def __init__(self, checkpoint: Checkpoint, options: Options, settings: Settings) -> None:
        self.checkpoint = checkpoint
        self.runtime = Runtime(checkpoint.model, settings, self.forward)
        self.on_gpu = self.runtime.devices[0].type == "cuda"
        projected = ("projected",) if checkpoint.projected else ()
        outputs = (*projected, "pooled", "tokens")
        self.output = options.text("output", outputs[0], outputs)
        if self.output == "tokens":
            self.max_tokens = options.number("max_tokens", 64, 1, 1 << 16)

    @abstractmethod
    def forward(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """What the output asks for, shape [batch, dim] or [batch, tokens, dim]."""

    def facts(self, settings: Settings, **more: Any) -> dict[str, Any]:
        """The identity, with what only this modality has."""
        return {
            **self.checkpoint.facts,
            "modality": self.modality,
            "output": self.output,
            "max_tokens": self.max_tokens,
            "precision": settings.precision,
            **more,
            "versions": versions("transformers"),
        }

    def measure(self, item: Any) -> int:
        """The length of a vector, found by encoding an input made up for it."""
        return int(self.encode([item])[0].shape[-1])


def tower(model: nn.Module, modality: str) -> Any:
    """The part of a model that reads a modality, before any projection."""
    return getattr(model, f"{TOWERS[modality][0]}model", model)


def projection(model: nn.Module, modality: str, **inputs: Tensor) -> Tensor:
    """Features in the space of two modalities, shape [batch, dim]."""
    project: Callable[..., Any] = getattr(model, PROJECTIONS[modality])
    found = project(**inputs)
    # Since transformers 5 it is an output whose pooled state is the projection.
    return found if isinstance(found, Tensor) else found.pooler_output
