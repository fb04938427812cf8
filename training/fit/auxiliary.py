"""Auxiliary losses: one classifier head per modality, used in training only."""

import copy

from torch import Tensor, nn

from mmfeat.models.architecture import Architecture
from mmfeat.models.base import Model
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.fusion import FUSIONS
from mmfeat.models.fusion_model import FusionModel
from training.data import Batch
from training.fit.device import ComputeConfig
from training.objectives.base import LossFunction
from training.objectives.describe import TeacherForcing


def supports_auxiliary_losses(architecture: Architecture) -> bool:
    """Whether the model fuses two or more modalities."""
    is_classifier = architecture.decoder is None
    return is_classifier and architecture.fusion in FUSIONS and len(architecture.dims) > 1


class ModelWithAuxiliaryLosses(nn.Module):
    """A model with a linear head for each modality.

    The modality that is learned fastest can satisfy a fused loss before the others are learned. A
    loss per modality keeps all of them learning (Wang et al. 2020, "What makes training multi-modal
    classification networks hard?"). The heads are not saved with the model.

    Args:
        model: the model to train.
        auxiliary: weight of the mean auxiliary loss. Must be 0 unless
            `supports_auxiliary_losses`.
    """

    def __init__(self, model: Model, auxiliary: float) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = auxiliary
        architecture = model.architecture
        count = len(architecture.dims) if auxiliary else 0
        self.heads = nn.ModuleList(
            nn.Linear(architecture.hidden, architecture.outputs) for _ in range(count)
        )

    def loss(self, batch: Batch, loss: LossFunction, compute: ComputeConfig) -> Tensor:
        """Return the training loss, shape []: the fused loss plus the auxiliary losses."""
        if isinstance(self.model, DescriptionModel):
            assert isinstance(loss, TeacherForcing)
            return loss.of_batch(self.model, *batch, compute.autocast())
        if not self.heads:
            with compute.autocast():
                logits = self.model(batch.features, batch.present)[0]
            return loss(logits.float(), batch.targets)
        assert isinstance(self.model, FusionModel)
        with compute.autocast():
            output = self.model.forward_all(batch.features, batch.present)
            head_logits = [head(output.h[:, m]) for m, head in enumerate(self.heads)]
        total = loss(output.logits.float(), batch.targets)
        for m, logits in enumerate(head_logits):
            rows = output.mask[:, m]
            if rows.any():
                modality_loss = loss(logits[rows].float(), batch.targets[rows])
                total = total + self.auxiliary / len(head_logits) * modality_loss
        return total

    def copy_model(self) -> Model:
        """Return a copy of the model on the CPU, without the heads."""
        return copy.deepcopy(self.model).cpu()
