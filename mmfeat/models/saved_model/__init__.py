"""A model on disk: its files, its weights, and the loaded model that predicts."""

from mmfeat.models.saved_model.loaded_model import LoadedModel, input_shapes, load_model
from mmfeat.models.saved_model.weights import (
    WEIGHTS,
    parse_tensors,
    read_weights,
    restore_model,
    save_weights,
)

__all__ = [
    "WEIGHTS",
    "LoadedModel",
    "input_shapes",
    "load_model",
    "parse_tensors",
    "read_weights",
    "restore_model",
    "save_weights",
]
