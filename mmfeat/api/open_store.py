"""Open a store of any kind."""

import os

from mmfeat.api.derived_stores import Audit, Duplicates, Export
from mmfeat.api.store import Store
from mmfeat.api.stores import Comparison, Features, Predictions, Ranking, Shards
from mmfeat.cli.info import describe_store
from mmfeat.store import unfinished_error

_KINDS: tuple[type[Store], ...] = (
    Shards,
    Features,
    Comparison,
    Predictions,
    Ranking,
    Export,
    Duplicates,
    Audit,
)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a finished store of mmfeat.

    Args:
        path: directory of shards, features, a model, a comparison, predictions, a ranking, an
            export, groups of near-duplicates or an audit.

    Returns:
        An object of the kind: `Shards`, `Features`, `TrainedModel`, `Comparison`, `Predictions`,
        `Ranking`, `Export`, `Duplicates` or `Audit`.

    Raises:
        MmfeatError: the directory has no store, or one that is not finished.
    """
    facts = describe_store(os.fspath(path))
    if not facts["finished"]:
        raise unfinished_error(facts["kind"], facts["path"])
    if facts["kind"] == "model":
        from mmfeat.api.trained_model import TrainedModel  # loads torch

        return TrainedModel(path)
    return next(kind(path) for kind in _KINDS if kind.kind == facts["kind"])
