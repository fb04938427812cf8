"""What an optimizer changes: a model, and what helps it learn and is left behind."""

import copy

from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.fusion_model import FusionModel
from training.data.batches import Batch
from training.fit.device import Machine
from training.objectives.base import LossFunction


def learns_each(architecture: Architecture) -> bool:
    """Whether modalities can have losses of their own: two or more of them that are fused."""
    return architecture.fusion in FUSIONS and len(architecture.dims) > 1


class Learner(nn.Module):
    """A model with a linear head for each modality alone.

    Fused losses are soon satisfied by the modality that is learned fastest, and the others stay
    raw. A loss of its own keeps each of them learning (auxiliary losses, as in Wang et al. 2020,
    "What makes training multi-modal classification networks hard?"). The heads are no part of the
    model.

    Args:
        model: what is to be trained.
        auxiliary: weight of the mean of the modalities' own losses beside the fused one's; 0 for
            all models but those that `learns_each` names.
    """

    def __init__(self, model: Model, auxiliary: float) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = auxiliary
        a = model.architecture
        alone = len(a.dims) if auxiliary else 0
        self.heads = nn.ModuleList(nn.Linear(a.hidden, a.outputs) for _ in range(alone))

    def loss(self, batch: Batch, loss: LossFunction, machine: Machine) -> Tensor:
        """What is to fall, shape []: the loss of the logits, and of each modality's own."""
        if not self.heads:
            with machine.forward():
                logits = self.model(batch.features, batch.present)[0]
            return loss(logits.float(), batch.targets)
        assert isinstance(self.model, FusionModel)
        with machine.forward():
            parts = self.model.parts(batch.features, batch.present)
            own = [head(parts.h[:, m]) for m, head in enumerate(self.heads)]
        total = loss(parts.logits.float(), batch.targets)
        for m, logits in enumerate(own):
            rows = parts.shown[:, m]
            if rows.any():
                alone = loss(logits[rows].float(), batch.targets[rows])
                total = total + self.auxiliary / len(own) * alone
        return total

    def trained(self) -> Model:
        """A copy of the model as it is now, on the CPU."""
        return copy.deepcopy(self.model).cpu()
