"""What a model is: features of a record's modalities in, logits out."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture


class Model(nn.Module):
    """Base of all models: judges a record by the features of the modalities it has.

    Attributes:
        architecture: what it was built from.
        columns: names of the feature columns, in the order the model takes them.
        temperature: buffer, shape []; what calibrated logits are divided by. Fitted on the
            validation split after training, 1 before.
        thresholds: buffer, shape [outputs]; the probability from which on a label is given, of
            models that give any number of them. Fitted likewise, 0.5 before.
    """

    temperature: Tensor
    thresholds: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.columns = list(architecture.dims)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("thresholds", torch.full((architecture.outputs,), 0.5))

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Judge.

        Args:
            features: column → float, shape [batch, dim], or [batch, tokens, dim] of a column of
                tokens; what is absent may hold anything.
            present: column → bool, shape [batch], or [batch, tokens]; a record that has no token
                of a column lacks it.

        Returns:
            logits, shape [batch, outputs], and the weight of each modality, shape
            [batch, modalities], where the model has weights.
        """
        raise NotImplementedError
