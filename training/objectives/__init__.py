"""Objectives by task: how each is read, learned and judged. One file here, one line each."""

from mmfeat.models.tasks import Task
from training.objectives.align import AlignObjective
from training.objectives.base import Objective
from training.objectives.multiclass import MulticlassObjective
from training.objectives.multilabel import MultilabelObjective
from training.objectives.regression import RegressionObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "multiclass": MulticlassObjective,
    "multilabel": MultilabelObjective,
    "regression": RegressionObjective,
    "align": AlignObjective,
}


def objective_for(task: Task, target: str) -> Objective:
    """The objective a trained model was made by, to judge it on other rows."""
    objective = OBJECTIVES[task.name](target)
    objective.know(task)
    return objective


__all__ = [
    "OBJECTIVES",
    "MultilabelObjective",
    "Objective",
    "objective_for",
]
