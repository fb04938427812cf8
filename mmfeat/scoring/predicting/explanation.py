"""What a prediction owes to each modality: how its logit changes without the modality."""

from typing import TYPE_CHECKING

import numpy as np

from mmfeat.errors import MmfeatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmfeat.models.inference import InferenceOutput
    from mmfeat.models.saved_model import LoadedModel

_TASKS = ("multiclass", "multilabel", "regression")


def check_explainable(model: "LoadedModel") -> None:
    """Check that the predictions of a model have a logit to explain.

    Raises:
        MmfeatError: the model has another task.
    """
    if model.task.name not in _TASKS:
        raise MmfeatError(
            f"--explain needs a model of the tasks {', '.join(_TASKS)}: {model.path}",
            got=model.task.name,
            cure="Leave the flag out",
        )


def leave_one_out(
    model: "LoadedModel",
    features: "Mapping[str, np.ndarray]",
    present: "Mapping[str, np.ndarray]",
    output: "InferenceOutput",
) -> np.ndarray:
    """Return how the prediction changes without each modality (occlusion: Zeiler and Fergus 2014).

    It is the logit of the predicted class, or of the most likely label, without the modality, minus
    the logit with all that are present, both divided by the temperature of the model. A value below
    0 means that the modality speaks for the prediction. For a regression, it is the change of the
    value in the unit of the target.

    Args:
        model: the model.
        features: as for `run_model`.
        present: as for `run_model`.
        output: the output of the model with all modalities.

    Returns:
        float32, shape (rows, modalities); NaN if the modality is absent, or the only one.
    """
    from mmfeat.models.inference import run_model  # imports torch

    scale = float(getattr(model.task, "deviation", 1 / model.temperature))
    best, rows = output.logits.argmax(axis=1), np.arange(len(output.logits))
    changes = np.full(output.present.shape, np.nan, np.float32)
    counts = output.present.sum(axis=1)
    for number, name in enumerate(model.column_names):
        can_leave_out = output.present[:, number] & (counts > model.task.min_modalities)
        if not can_leave_out.any():
            continue
        without = {**present, name: np.zeros_like(present[name])}
        logits = run_model(model.module, features, without).logits
        change = (logits[rows, best] - output.logits[rows, best]) * np.float32(scale)
        changes[can_leave_out, number] = change[can_leave_out]
    return changes
