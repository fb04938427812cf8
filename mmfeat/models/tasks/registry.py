"""Tasks by name. A new task is one file and one line here."""

from dataclasses import fields
from typing import Any

from mmfeat.models.tasks.align import Align
from mmfeat.models.tasks.base import Task
from mmfeat.models.tasks.multiclass import Multiclass
from mmfeat.models.tasks.multilabel import Multilabel
from mmfeat.models.tasks.regression import Regression

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Multiclass, Multilabel, Regression, Align)
}


def task_from_config(config: dict[str, Any]) -> Task:
    """Return the task that a model's config.json describes."""
    task = TASKS[config["task"]]
    return task(**{field.name: config[field.name] for field in fields(task)})
