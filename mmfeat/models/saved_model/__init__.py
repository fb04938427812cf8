"""A model on disk: its files, its weights, and the loaded model that predicts."""

from mmfeat.models.saved_model.layers import input_shapes, layers_to_config, model_config
from mmfeat.models.saved_model.loaded_model import LoadedModel, load_model
from mmfeat.models.saved_model.tokenizer import save_tokenizer
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
    "layers_to_config",
    "load_model",
    "model_config",
    "parse_tensors",
    "read_weights",
    "restore_model",
    "save_tokenizer",
    "save_weights",
]
