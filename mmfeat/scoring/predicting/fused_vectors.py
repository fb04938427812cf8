"""The fused vector of each record: what the classifier of a fusion model reads."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfeat.errors import MmfeatError
from mmfeat.models.names import STANDALONE_NAMES
from mmfeat.store import read_manifest

if TYPE_CHECKING:
    from mmfeat.models.saved_model import LoadedModel


_WITHOUT_VECTORS = {*STANDALONE_NAMES, "kernel"}


def check_has_fusion(path: str) -> None:
    """Check that a model may have fused vectors, by its manifest: nothing heavy is imported.

    Raises:
        MmfeatError: it is a model without a fusion, or an ensemble of such models.
    """
    manifest = read_manifest(path, "model")
    config = {**manifest["config"], **manifest.get("chosen", {})}
    if _fusions(config) <= _WITHOUT_VECTORS:  # else `FusedVectors` decides
        raise _no_fusion(path, config)


def _fusions(config: Mapping[str, Any]) -> set[str]:
    """Return the fusions of a model's parts. The document may not be checked yet."""
    members = config.get("members")
    parts = members if isinstance(members, list) and members else [config]
    return {str(part.get("fusion")) for part in parts if isinstance(part, Mapping)}


def _no_fusion(path: str, config: Mapping[str, Any]) -> MmfeatError:
    parts = ", ".join(sorted(_fusions(config)))
    return MmfeatError(
        f"--embedding needs a model with a fusion: {path}",
        got=f"an ensemble of {parts}" if config.get("members") else parts,
        cure="Train with --fusion gmu or another fusion, or leave the flag out",
    )


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
            raise _no_fusion(model.path, model.config)
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
