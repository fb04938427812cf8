"""What is done against unbalanced classes, and what is done where nothing is asked for."""

from typing import Literal, NamedTuple

import numpy as np

from mmfeat.errors import MmfeatError

AUTO, NONE = "auto", "none"
RIDGE, LOGISTIC = "ridge", "logistic"
LOGIT_ADJUSTMENT = "logit_adjustment"
"""Add log π of each class to the logits in the loss, and only there (Menon et al. 2021,
arXiv:2007.07314, τ = 1)."""
CLASS_WEIGHTS = "class_weights"
"""Weigh each row by 1 / (classes · π) of its class."""
FOCAL = "focal"
"""Weigh each row by (1 - p)² of its class (Lin et al. 2017, arXiv:1708.02002)."""
POS_WEIGHT = "pos_weight"
"""Weigh the rows that have a label by (rows without it) / (rows with it), between 1 and
`HEAVIEST`."""
BALANCED_SAMPLING = "balanced_sampling"
"""Draw rows with replacement, every class equally often."""

Imbalance = Literal[
    "auto",
    "none",
    "logit_adjustment",
    "class_weights",
    "focal",
    "pos_weight",
    "balanced_sampling",
]

FITS = {
    "multiclass": (NONE, LOGIT_ADJUSTMENT, CLASS_WEIGHTS, FOCAL, BALANCED_SAMPLING),
    "multilabel": (NONE, POS_WEIGHT, FOCAL),
}
"""Task → what can be done there; nothing elsewhere."""

FOCUS = 2.0
HEAVIEST = 100.0

UNEVEN = 10
"""From this ratio of the largest to the smallest class on, auto acts for a balanced metric."""


class Choice(NamedTuple):
    """What is done against imbalance, and why."""

    name: str
    why: str


def choose(
    asked: str, task: str, metric: str, counts: np.ndarray | None, rows: int, fusion: str = ""
) -> Choice:
    """Settle --imbalance.

    Args:
        asked: what the options say.
        task: name of the task.
        metric: what the model is chosen by.
        counts: training rows of each class, or with each label; None without classes.
        rows: training rows.
        fusion: ridge and logistic are not trained batch by batch, and cannot do all of it.

    Raises:
        MmfeatError: what is asked for does not go with the task.
    """
    fits = FITS.get(task, (NONE,))
    if asked != AUTO:
        if asked not in fits:
            raise MmfeatError(
                f"--imbalance of the task {task!r} must be one of: {', '.join((AUTO, *fits))}",
                got=asked,
            )
        if fusion == RIDGE or (fusion == LOGISTIC and asked == BALANCED_SAMPLING):
            return Choice(NONE, f"{fusion} takes every row once, as it is")
        return Choice(asked, "asked for")
    if counts is None:
        return Choice(NONE, "there are no classes")
    if fusion == RIDGE:
        return Choice(NONE, f"{fusion} takes every row once, as it is")
    if task == "multilabel":
        return _for_labels(metric, counts, rows)
    ratio = counts.max() / counts.min()
    found = f"the largest class has {ratio:.3g} times the rows of the smallest"
    if metric == "accuracy":
        return Choice(NONE, f"{found}; accuracy counts rows, not classes")
    if ratio <= UNEVEN:
        return Choice(NONE, f"{found}, not more than {UNEVEN}")
    return Choice(LOGIT_ADJUSTMENT, f"{found}, and {metric} weighs classes evenly")


def _for_labels(metric: str, counts: np.ndarray, rows: int) -> Choice:
    ratio = (rows - counts.min()) / counts.min()
    found = f"{ratio:.3g} rows lack the rarest label for one that has it"
    if ratio <= UNEVEN:
        return Choice(NONE, f"{found}, not more than {UNEVEN}")
    if metric != "macro_f1":
        return Choice(NONE, f"{found}; {metric} looks at the order of rows, or counts them all")
    return Choice(POS_WEIGHT, f"{found}, and macro_f1 weighs labels evenly")
