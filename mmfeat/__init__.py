"""Multimodal features at scale.

mmfeat.shard("items.csv", "run/shards")                  # raw records → WebDataset tars
mmfeat.extract("run/shards", "run/features")             # frozen encoders, once
model = mmfeat.train("run/features", "run/model", target="label")
model.predict(image="photo.jpg", text="red shoes")       # raw inputs
mmfeat.score("run/model", "run/features", "run/predictions").to_pandas()
mmfeat.open("run/features")["00042"]                     # one record
"""

from mmfeat.startup import prepare_command

prepare_command()  # first, so that Ctrl-C finds it in place

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from mmfeat.errors import MmfeatError  # noqa: E402
from mmfeat.import_path import drop_working_directory  # noqa: E402
from mmfeat.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from mmfeat.api import (
        align_report,
        audit,
        compare,
        dedup,
        evaluate,
        export,
        extract,
        info,
        preview,
        report,
        score,
        search,
        shard,
        show,
        train,
        verify,
    )
    from mmfeat.api import open_store as open
    from mmfeat.models.saved_model import load_model

drop_working_directory()

__all__ = [
    "MmfeatError",
    "__version__",
    "align_report",
    "audit",
    "compare",
    "dedup",
    "evaluate",
    "export",
    "extract",
    "info",
    "load_model",
    "open",
    "preview",
    "report",
    "score",
    "search",
    "shard",
    "show",
    "train",
    "verify",
]

_ELSEWHERE = {
    "load_model": ("mmfeat.models.saved_model", "load_model"),
    "open": ("mmfeat.api", "open_store"),
}
"""Name → its module and its name there. The others are functions of `mmfeat.api`."""


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported when it is first used
        module, attribute = _ELSEWHERE.get(name, ("mmfeat.api", name))
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
