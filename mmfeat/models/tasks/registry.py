"""Tasks by name. A new task is one file and one line here."""

from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.models.tasks.align import Align
from mmfeat.models.tasks.base import Task
from mmfeat.models.tasks.describe import Describe
from mmfeat.models.tasks.multiclass import Multiclass
from mmfeat.models.tasks.multilabel import Multilabel
from mmfeat.models.tasks.regression import Regression
from mmfeat.storage import check_value

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Multiclass, Multilabel, Regression, Align, Describe)
}


def task_from_config(config: dict[str, Any], path: str) -> Task:
    """Return the task that a model's configuration describes.

    Args:
        config: the configuration.
        path: the file it is from, for errors.

    Raises:
        DamagedFileError: there is no such task, or it lacks a field.
    """
    if config["task"] not in TASKS:
        raise DamagedFileError(f"{path} must have a task of {', '.join(TASKS)}", got=config["task"])
    return check_value(config, TASKS[config["task"]], path)
