"""Objectives by task. A new objective is one file and one line here."""

from mmfeat.models.tasks import Task
from training.objectives.align import AlignObjective
from training.objectives.base import Objective
from training.objectives.describe import DescribeObjective
from training.objectives.multiclass import MulticlassObjective
from training.objectives.multilabel import MultilabelObjective
from training.objectives.regression import RegressionObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "multiclass": MulticlassObjective,
    "multilabel": MultilabelObjective,
    "regression": RegressionObjective,
    "align": AlignObjective,
    "describe": DescribeObjective,
}


def objective_for(task: Task, target: str) -> Objective:
    """Return the objective of a trained model, to evaluate it on other rows."""
    objective = OBJECTIVES[task.name](target)
    objective.bind_task(task)
    return objective
