"""The Python face of mmfeat: every command as a function, every store as an object."""

from mmfeat.api.commands import (
    align_report,
    audit,
    compare,
    dedup,
    evaluate,
    export,
    extract,
    score,
    search,
    shard,
    train,
    verify,
)
from mmfeat.api.derived_stores import Audit, Duplicates, Export
from mmfeat.api.look import info, preview, report, show
from mmfeat.api.open_store import open_store
from mmfeat.api.record import Record
from mmfeat.api.store import Store
from mmfeat.api.stores import Comparison, Features, Predictions, Ranking, Shards
from mmfeat.api.trained_model import TrainedModel

__all__ = [
    "Audit",
    "Comparison",
    "Duplicates",
    "Export",
    "Features",
    "Predictions",
    "Ranking",
    "Record",
    "Shards",
    "Store",
    "TrainedModel",
    "align_report",
    "audit",
    "compare",
    "dedup",
    "evaluate",
    "export",
    "extract",
    "info",
    "open_store",
    "preview",
    "report",
    "score",
    "search",
    "shard",
    "show",
    "train",
    "verify",
]
