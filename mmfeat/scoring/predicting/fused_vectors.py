"""The fused vector of each record: what the classifier of a fusion model reads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfeat.errors import MmfeatError

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel


class FusedVectors:
    """Records the fused vectors of a model while it runs, in any number of threads.

    An ensemble has the vectors of its members behind each other; members without a fusion, such as
    linear ones, have none.

    Args:
        model: the model.

    Raises:
        MmfeatError: no part of the model fuses vectors.
    """

    def __init__(self, model: "LoadedModel") -> None:
        from mmfeat.models.fusion_model import FusionModel  # imports torch

        parts = [part for part in model.module.modules() if isinstance(part, FusionModel)]
        if not parts:
            raise MmfeatError(
                f"--embedding needs a model with a fusion: {model.path}",
                got=model.config["fusion"],
                cure="Train with --fusion gmu or another fusion, or leave the flag out",
            )
        self.dim = sum(part.combination.out_dim for part in parts)
        self._parts = len(parts)
        self._local = threading.local()
        for number, part in enumerate(parts):
            part.combination.register_forward_hook(partial(self._keep, number))

    def _keep(self, number: int, module: Any, inputs: Any, output: Any) -> None:
        if outputs := getattr(self._local, "outputs", None):
            outputs[number].append(output.detach().float().numpy())

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record what this thread computes in the block; `take` returns it."""
        self._local.outputs = [[] for _ in range(self._parts)]
        try:
            yield
        finally:
            self._local.outputs = None

    def take(self, rows: int) -> np.ndarray:
        """Return what was recorded: float32, shape (rows, dim). Call it within the block.

        Args:
            rows: number of rows; the last batch of a model is padded.
        """
        parts = [np.concatenate(batches)[:rows] for batches in self._local.outputs]
        return np.concatenate(parts, axis=1)
