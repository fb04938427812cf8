"""The space of an alignment: a model of `mmfeat train --task align`."""

from typing import TYPE_CHECKING

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.features import FeatureStore
from mmfeat.retrieval.searched_column import Project

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel


def load_alignment(path: str, store: FeatureStore) -> "LoadedModel":
    """Load an alignment that was trained on the columns of a store.

    Raises:
        MmfeatError: the model is no alignment, or was trained on other columns.
    """
    from mmfeat.models.saved_model import load_model

    model = load_model(path)
    if model.task.name != "align":
        raise MmfeatError(
            f"the model in {path} must be an alignment",
            got=f"the task {model.task.name!r}",
            cure="Train one with: mmfeat train FEATURES OUTPUT --task align",
        )
    model.check_columns(store.columns)
    return model


def make_projection(model: "LoadedModel", name: str) -> Project:
    """Return the map of a column to the space of an alignment."""
    from mmfeat.models.inference import run_model
    from mmfeat.models.tasks import Align

    task, number = model.task, model.column_names.index(name)
    assert isinstance(task, Align)

    def project(features: np.ndarray, present: np.ndarray) -> np.ndarray:
        inputs, masks = {}, {}
        for column in model.columns:
            tokens = (column.max_tokens,) if column.max_tokens else ()
            shape = (len(features), *tokens)
            is_own = column.name == name
            inputs[column.name] = features if is_own else np.zeros((*shape, column.dim), np.float32)
            masks[column.name] = present if is_own else np.zeros(shape, bool)
        logits = run_model(model.module, inputs, masks).logits
        return task.vectors(logits)[:, number]

    return project
