"""Run a model that describes on rows: the losses of references, and generated texts."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mmfeat.models.base import Model
from mmfeat.models.decoder.description_model import DescriptionModel
from mmfeat.models.inference import pad_batch, run_model
from mmfeat.models.tasks import Describe
from training.objectives.describe.teacher_forcing import IGNORED, token_targets


def reference_losses(
    module: Model,
    task: Describe,
    features: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    references: Tensor,
) -> np.ndarray:
    """Return the sum of -log p of the tokens of each reference, and their number.

    Args:
        module: the model, on any device; it returns to its previous mode.
        task: its task.
        features, present: as for `mmfeat.models.inference.run_model`.
        references: tokens of each row, int64, shape [rows, max_length].

    Returns:
        float32, shape (rows, 2).
    """
    assert isinstance(module, DescriptionModel)
    device, size = next(module.parameters()).device, module.batch_rows
    losses = np.zeros((len(references), 2), np.float32)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(references), size):
            rows = slice(start, min(start + size, len(references)))
            # Batches of one size give a row the same loss in any of them.
            tokens = torch.full((size, task.max_length), task.codec.pad)
            tokens[: rows.stop - rows.start] = references[rows]
            tokens = tokens.to(device)
            logits = module.next_token_logits(
                {
                    c: pad_batch(v[rows], torch.float32, size).to(device)
                    for c, v in features.items()
                },
                {c: pad_batch(v[rows], torch.bool, size).to(device) for c, v in present.items()},
                tokens,
            )
            counted = token_targets(tokens, task.codec)
            total = nn.functional.cross_entropy(
                logits.float().transpose(1, 2), counted, reduction="none", ignore_index=IGNORED
            ).sum(dim=1)
            pairs = torch.stack([total, (counted != IGNORED).sum(dim=1).float()], dim=1)
            losses[rows] = pairs[: rows.stop - rows.start].cpu().numpy()
    module.train(was_training)
    return losses


def generate_rows(
    module: Model, features: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return texts in the layout of `mmfeat.models.decoder.packing`, written on the CPU."""
    is_elsewhere = next(module.parameters()).device.type != "cpu"
    return run_model(
        copy.deepcopy(module).cpu() if is_elsewhere else module, features, present
    ).logits
