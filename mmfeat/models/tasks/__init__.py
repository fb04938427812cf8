"""Tasks by name: what a model's outputs mean. A new one is one file here and one line."""

from dataclasses import fields
from typing import Any

from mmfeat.models.tasks.align import Align
from mmfeat.models.tasks.base import Task
from mmfeat.models.tasks.multiclass import Multiclass
from mmfeat.models.tasks.multilabel import Multilabel
from mmfeat.models.tasks.regression import Regression

TASKS: dict[str, type[Task]] = {
    "multiclass": Multiclass,
    "multilabel": Multilabel,
    "regression": Regression,
    "align": Align,
}


def task_of(config: dict[str, Any]) -> Task:
    """The task of a model, from its config.json."""
    kind = TASKS[config["task"]]
    return kind(**{field.name: config[field.name] for field in fields(kind)})


__all__ = ["TASKS", "Align", "Multiclass", "Multilabel", "Regression", "Task", "task_of"]
