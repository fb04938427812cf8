"""What objectives share whose task has names: classes, or labels."""

from collections.abc import Sequence

from mmfeat.models.tasks import Multiclass, Multilabel, Task
from training.objectives.base import Objective


class NamedObjective(Objective):
    """Numbers names as it meets them, in shard after shard.

    Once the task is known, its own names come first, in the order of the logits; behind them
    stand those that no training row has.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._numbers: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """All names that were met, in the order of their numbers."""
        return list(self._numbers)

    @property
    def classes(self) -> list[str]:
        """The task's names."""
        assert isinstance(self.task, Multiclass | Multilabel)
        return self.task.classes

    def know(self, task: Task) -> None:
        """See `Objective.know`."""
        super().know(task)
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def number(self, name: str) -> int:
        """The number of a name, a new one where it is new."""
        return self._numbers.setdefault(name, len(self._numbers))

    def _settle_names(self, task: Task, others: Sequence[str]) -> None:
        """Know the task, and number the names behind its own anew."""
        self.know(task)
        for name in others:
            self.number(name)
