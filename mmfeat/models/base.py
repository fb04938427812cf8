"""The interface of a model: features of a record's modalities in, logits out."""

import torch
from torch import Tensor, nn

from mmfeat.models.architecture import Architecture

BATCH_ROWS = 512
"""Rows in every forward pass of inference; the last batch is padded.

A matrix product may round a row differently in a batch of another size. With a fixed size, a
record gets the same scores in any shard.
"""


class Model(nn.Module):
    """Base of all models.

    Attributes:
        architecture: the configuration of the layers.
        columns: names of the feature columns, in the model's order.
        temperature: buffer, shape []; divides calibrated logits. Fitted on the validation split
            after training, 1 before.
        thresholds: buffer, shape [outputs]; a multilabel model predicts a label if its probability
            reaches the threshold. Fitted like the temperature, 0.5 before.
        batch_rows: rows in every forward pass of inference.
    """

    batch_rows = BATCH_ROWS

    temperature: Tensor
    thresholds: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.columns = list(architecture.dims)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("thresholds", torch.full((architecture.outputs,), 0.5))

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the first layers, which read one column each.

        Args:
            features: column → float, shape [batch, dim], or [batch, tokens, dim] for a token
                column. Values of absent modalities are ignored.
            present: column → bool, shape [batch], or [batch, tokens]. A record without any token
                in a column lacks that modality.

        Returns:
            Column → float, shape [batch, …].
        """
        raise NotImplementedError

    def forward_encoded(
        self, encoded: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Compute logits and modality weights from the output of `encode`.

        Args:
            encoded: column → float, shape [batch, …]. Columns may come from different records.
            present: as for `encode`.

        Returns:
            As for `forward`.
        """
        raise NotImplementedError

    def forward(
        self, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Compute logits and modality weights; arguments as for `encode`.

        Returns:
            logits, shape [batch, outputs], and modality weights, shape [batch, modalities], or
            None if the model has no weights.
        """
        return self.forward_encoded(self.encode(features, present), present)


class ColumnwiseModel(Model):
    """Base of the models that encode each column by a module of its own, `heads`."""

    heads: nn.ModuleList

    def encode(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.encode`: the output of each column's head."""
        return {
            column: head(features[column], present[column])
            for column, head in zip(self.columns, self.heads, strict=True)
        }
