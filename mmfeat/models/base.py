"""What a classifier is: features of a record's modalities in, logits out."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture


class Model(nn.Module):
    """Base of all models: classifies a record by the features of the modalities it has.

    Attributes:
        architecture: what it was built from.
        columns: names of the feature columns, in the order the model takes them.
        temperature: buffer, shape []; the probabilities are softmax(logits / temperature).
            Fitted on the validation split after training, 1 before.
    """

    temperature: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.columns = list(architecture.dims)
        self.register_buffer("temperature", torch.ones(()))

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Classify.

        Args:
            features: column → float, shape [batch, dim]; absent rows may hold anything.
            present: column → bool, shape [batch].

        Returns:
            logits, shape [batch, classes], and the weight of each modality, shape
            [batch, modalities], where the model has weights.
        """
        raise NotImplementedError
