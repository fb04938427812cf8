"""Run an encoder as it ran for the training of a model, and check that it is the same one."""

from dataclasses import replace
from typing import Any, cast

from mmfeat.encoders import Precision, Settings
from mmfeat.errors import MmfeatError
from mmfeat.features import Column
from mmfeat.store import describe_differences


def settings_of_column(column: Column, settings: Settings) -> Settings:
    """Return settings with which the encoder of a column gives the same features again.

    Args:
        column: the column, as a model records it.
        settings: settings of the command; device, threads and decoder stay.
    """
    facts: dict[str, Any] = column.encoder
    preprocessing = facts.get("preprocessing")
    reduced = preprocessing.get("reduced", True) if isinstance(preprocessing, dict) else True
    precision = facts.get("precision")
    known = precision in ("float32", "bfloat16", "float16")
    return replace(
        settings,
        precision=cast(Precision, precision) if known else "float32",
        compile="on" if facts.get("compiled") else "off",
        reduced_decoding=bool(reduced),
    )


def check_column(required: Column, loaded: Column) -> None:
    """Check that a loaded encoder makes the features of a column.

    Args:
        required: the column of the model.
        loaded: the column that the encoder makes.

    Raises:
        MmfeatError: the encoder is another one.
    """
    if (loaded.fingerprint, loaded.modality) == (required.fingerprint, required.modality):
        return
    differences = describe_differences(required.facts, loaded.facts)
    raise MmfeatError(
        f"the encoder of {required.name} must be the one of the training, with the fingerprint "
        f"{required.fingerprint[:12]}",
        got=loaded.fingerprint[:12],
        cure=f"Different: {differences or 'the modality'}. Name the right one with --encoder "
        f"{required.name}=SCHEME:NAME, or extract and train again",
    )
