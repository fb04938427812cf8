"""The stages as Apache Beam pipelines, and their steps as transforms for other pipelines.

`run_stage.py` runs a stage. `ReadShards`, `EncodeSamples` and `ScoreFeatures` are for pipelines of
your own (docs/beam.md).
"""

from typing import TYPE_CHECKING, Any

from mmfeat.import_path import drop_working_directory

if TYPE_CHECKING:
    from pipelines.library import (
        EncodedSample,
        EncodeSamples,
        ReadShards,
        ScoreFeatures,
        StoredSample,
    )

drop_working_directory()

__all__ = ["EncodeSamples", "EncodedSample", "ReadShards", "ScoreFeatures", "StoredSample"]


def __getattr__(name: str) -> Any:
    """Import a transform when it is used: Beam loads slowly, and the commands do without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines import library

    return getattr(library, name)
