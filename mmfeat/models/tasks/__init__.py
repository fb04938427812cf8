"""Tasks: the meaning of a model's outputs."""

from mmfeat.models.tasks.align import Align
from mmfeat.models.tasks.base import Task, top_classes
from mmfeat.models.tasks.describe import Describe
from mmfeat.models.tasks.multiclass import Multiclass
from mmfeat.models.tasks.multilabel import Multilabel
from mmfeat.models.tasks.registry import TASKS, task_from_config
from mmfeat.models.tasks.regression import Regression

__all__ = [
    "TASKS",
    "Align",
    "Describe",
    "Multiclass",
    "Multilabel",
    "Regression",
    "Task",
    "task_from_config",
    "top_classes",
]
