"""Multimodal features at scale.

model = mmfeat.load_model("run/model")
model.predict({"image": images, "text": texts}).scores   # shape (rows, classes)
model.module                                              # a plain torch.nn.Module
"""

from mmfeat.startup import prepare_command

prepare_command()  # first, so that Ctrl-C finds it in place

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from mmfeat.errors import MmfeatError  # noqa: E402
from mmfeat.import_path import drop_working_directory  # noqa: E402
from mmfeat.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from mmfeat.models.saved_model import load_model

drop_working_directory()

__all__ = ["MmfeatError", "__version__", "load_model"]

_LAZY = {"load_model": "mmfeat.models.saved_model"}
"""Name → its module. Torch is imported on first use."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
