"""Methods against class imbalance, and the automatic choice of one."""

from typing import Literal, NamedTuple

import numpy as np

from mmfeat.errors import MmfeatError

AUTO, NONE = "auto", "none"
RIDGE, LOGISTIC = "ridge", "logistic"
LOGIT_ADJUSTMENT = "logit_adjustment"
"""Add log π of each class to the logits, in the loss only (Menon et al. 2021, arXiv:2007.07314,
τ = 1)."""
CLASS_WEIGHTS = "class_weights"
"""Weight each row by 1 / (classes · π) of its class."""
FOCAL = "focal"
"""Weight each row by (1 - p)² of its class (Lin et al. 2017, arXiv:1708.02002)."""
POS_WEIGHT = "pos_weight"
"""Weight the rows with a label by (rows without it) / (rows with it), between 1 and
`MAX_POS_WEIGHT`."""
BALANCED_SAMPLING = "balanced_sampling"
"""Sample rows with replacement, every class equally often."""

Imbalance = Literal[
    "auto",
    "none",
    "logit_adjustment",
    "class_weights",
    "focal",
    "pos_weight",
    "balanced_sampling",
]

METHODS = {
    "multiclass": (NONE, LOGIT_ADJUSTMENT, CLASS_WEIGHTS, FOCAL, BALANCED_SAMPLING),
    "multilabel": (NONE, POS_WEIGHT, FOCAL),
}
"""Task → its methods. Other tasks have none."""

FOCAL_GAMMA = 2.0
MAX_POS_WEIGHT = 100.0

AUTO_RATIO = 10
"""Auto acts if the ratio of the largest to the smallest class exceeds this."""


class ImbalanceMethod(NamedTuple):
    """A method, and why it was chosen. config.json stores both."""

    name: str
    why: str


def choose_method(
    requested: str, task: str, metric: str, counts: np.ndarray | None, rows: int, fusion: str = ""
) -> ImbalanceMethod:
    """Resolve --imbalance.

    Args:
        requested: the value of the option.
        task: name of the task.
        metric: the metric for model selection.
        counts: training rows of each class or with each label; None if there are no classes.
        rows: number of training rows.
        fusion: ridge and logistic do not train in batches, so some methods do not apply.

    Raises:
        MmfeatError: the method does not apply to the task.
    """
    methods = METHODS.get(task, (NONE,))
    if requested != AUTO:
        if requested not in methods:
            raise MmfeatError(
                f"--imbalance of the task {task!r} must be one of: {', '.join((AUTO, *methods))}",
                got=requested,
            )
        if fusion == RIDGE or (fusion == LOGISTIC and requested == BALANCED_SAMPLING):
            return ImbalanceMethod(NONE, f"{fusion} takes every row once, as it is")
        return ImbalanceMethod(requested, "asked for")
    if counts is None:
        return ImbalanceMethod(NONE, "there are no classes")
    if fusion == RIDGE:
        return ImbalanceMethod(NONE, f"{fusion} takes every row once, as it is")
    if task == "multilabel":
        return _choose_for_labels(metric, counts, rows)
    ratio = counts.max() / counts.min()
    finding = f"the largest class has {ratio:.3g} times the rows of the smallest"
    if metric == "accuracy":
        return ImbalanceMethod(NONE, f"{finding}; accuracy counts rows, not classes")
    if ratio <= AUTO_RATIO:
        return ImbalanceMethod(NONE, f"{finding}, not more than {AUTO_RATIO}")
    return ImbalanceMethod(LOGIT_ADJUSTMENT, f"{finding}, and {metric} weighs classes evenly")


def _choose_for_labels(metric: str, counts: np.ndarray, rows: int) -> ImbalanceMethod:
    ratio = (rows - counts.min()) / counts.min()
    finding = f"{ratio:.3g} rows lack the rarest label for one that has it"
    if ratio <= AUTO_RATIO:
        return ImbalanceMethod(NONE, f"{finding}, not more than {AUTO_RATIO}")
    if metric != "macro_f1":
        why = f"{finding}; {metric} looks at the order of rows, or counts them all"
        return ImbalanceMethod(NONE, why)
    return ImbalanceMethod(POS_WEIGHT, f"{finding}, and macro_f1 weighs labels evenly")
