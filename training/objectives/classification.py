"""The common part of the multiclass and multilabel objectives: numbering of labels."""

from collections.abc import Sequence

from mmfeat.models.tasks import Multiclass, Multilabel, Task
from training.objectives.base import Objective


class ClassificationObjective(Objective):
    """Numbers the labels in the order in which the shards contain them.

    Once the task is known, its classes come first, in the order of the logits. Labels that no
    training row has follow.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._numbers: dict[str, int] = {}

    @property
    def labels(self) -> list[str]:
        """All labels, in the order of their numbers."""
        return list(self._numbers)

    @property
    def classes(self) -> list[str]:
        """The labels of the task."""
        assert isinstance(self.task, Multiclass | Multilabel)
        return self.task.classes

    def bind_task(self, task: Task) -> None:
        """See `Objective.bind_task`."""
        super().bind_task(task)
        self._numbers = {label: number for number, label in enumerate(self.classes)}

    def number(self, label: str) -> int:
        """Return the number of a label; a new label gets the next number."""
        return self._numbers.setdefault(label, len(self._numbers))

    def _bind_classes(self, task: Task, unseen: Sequence[str]) -> None:
        """Bind the task, then number the labels that no training row has."""
        self.bind_task(task)
        for label in unseen:
            self.number(label)
