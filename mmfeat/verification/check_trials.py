"""Check the trials of a comparison, finished or not, by what their documents record.

cells/MODEL/interaction.json     written last
           /SEED/cell.json       the size and the digests of the files beside it
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NotRequired, TypedDict

import numpy as np

from mmfeat.errors import DamagedFileError
from mmfeat.storage import Name, files, read_document
from mmfeat.store import RecordedFile
from mmfeat.system import default_threads, ordered_map
from mmfeat.verification.check_bytes import check_bytes
from mmfeat.verification.parts import Damage

_TRIALS = "cells"

_RECEIPT = "cell.json"

_INTERACTION = "interaction.json"

_PREDICTIONS = ("val.npy", "test.npy")


class _Recorded(TypedDict):
    files: NotRequired[dict[Name, RecordedFile]]


@dataclass
class TrialCheck:
    """What was read of a trial or of a model's documents, and what is damaged."""

    files: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)


def check_trials(comparison: str, *, complete: bool) -> Iterator[TrialCheck]:
    """Check each model and each trial of a comparison, several at the same time.

    Args:
        comparison: its folder.
        complete: whether all its trials are finished, so that a missing document is damage.
    """
    models = _list_trials(comparison)
    trials = [trial for folders in models.values() for trial in folders]
    for check, folders in ((_check_interaction, [*models]), (_check_trial, trials)):
        yield from ordered_map(
            partial(check, complete=complete), folders, threads=default_threads()
        )


def count_trials(comparison: str) -> tuple[int, int]:
    """Return how many models and how many trials of a comparison are finished."""
    models = _list_trials(comparison)
    trials = [trial for folders in models.values() for trial in folders]
    return (
        sum(files.exists(files.join(model, _INTERACTION)) for model in models),
        sum(files.exists(files.join(trial, _RECEIPT)) for trial in trials),
    )


def _list_trials(comparison: str) -> dict[str, list[str]]:
    """Return the folders of the trials, finished or not, by the folder of their model."""
    root = files.join(comparison, _TRIALS)
    models = [files.join(root, name) for name in files.list_names(root)]
    trials = {
        model: [files.join(model, name) for name in files.list_names(model) if name.isdigit()]
        for model in models
    }
    return {model: folders for model, folders in trials.items() if folders}


def _check_interaction(model: str, *, complete: bool) -> TrialCheck:
    path = files.join(model, _INTERACTION)
    try:
        missing = read_document(path, dict) is None
    except DamagedFileError as error:
        return TrialCheck(damages=[Damage(path, error.rule)])
    return TrialCheck(damages=[Damage(path, "is missing")] if complete and missing else [])


def _check_trial(folder: str, *, complete: bool) -> TrialCheck:
    receipt = files.join(folder, _RECEIPT)
    try:
        document = read_document(receipt, _Recorded)
    except DamagedFileError as error:
        return TrialCheck(damages=[Damage(receipt, error.rule)])
    if document is None:
        return TrialCheck(damages=[Damage(receipt, "is missing")] if complete else [])
    if "files" not in document:
        return _read_trial(folder)
    result = TrialCheck()
    for name, info in document["files"].items():
        path = files.join(folder, name)
        if problem := check_bytes(path, info):
            result.damages.append(Damage(path, problem, receipt=receipt))
        result.files += 1
        result.bytes += info["bytes"]
    return result


def _read_trial(folder: str) -> TrialCheck:
    """Read the files of a trial of an earlier version, which records no digests."""
    from mmfeat.models.saved_model import WEIGHTS, read_weights  # imports torch

    result = TrialCheck()
    for name in (WEIGHTS, *_PREDICTIONS):
        path = files.join(folder, name)
        result.files += 1
        result.bytes += files.size(path) or 0
        try:
            if name == WEIGHTS:
                read_weights(folder)
            else:
                with files.open_input(path) as file:
                    np.load(file, allow_pickle=False)
        except (DamagedFileError, EOFError, FileNotFoundError, MemoryError, ValueError) as error:
            problem = f"cannot be read: {error}"
            result.damages.append(Damage(path, problem, receipt=files.join(folder, _RECEIPT)))
    return result
