"""The common part of the multiclass and multilabel objectives: numbering of labels."""

from collections.abc import Sequence

from mmfeat.models.tasks import Multiclass, Multilabel, Task
from mmfeat.records import canonical_text
from training.objectives.base import Objective


class ClassificationObjective(Objective):
    """Numbers the labels in the order in which the shards contain them.

    Equal labels have one number, however they are written. A label is named as the rows spell it,
    or by its canonical text if they spell it in several ways.

    Once the task is known, its classes come first, in the order of the logits. Labels that no
    training row has follow.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.labels: list[str] = []
        """All labels, in the order of their numbers."""
        self._spellings: dict[str, int] = {}
        self._canonical: dict[str, int] = {}
        self._fixed = 0

    @property
    def classes(self) -> list[str]:
        """The labels of the task."""
        assert isinstance(self.task, Multiclass | Multilabel)
        return self.task.classes

    def bind_task(self, task: Task) -> None:
        """See `Objective.bind_task`."""
        super().bind_task(task)
        self._bind_labels(self.classes)

    def number(self, label: str) -> int:
        """Return the number of a label; a new label gets the next number."""
        if label not in self._spellings:
            canonical = canonical_text(label)
            number = self._canonical.setdefault(canonical, len(self.labels))
            self._spellings[label] = number
            if number == len(self.labels):
                self.labels.append(label)
            elif number >= self._fixed:
                self.labels[number] = canonical
        return self._spellings[label]

    def _bind_labels(self, labels: Sequence[str]) -> None:
        """Number labels by their position, with fixed names."""
        self.labels = list(labels)
        self._fixed = len(self.labels)
        self._spellings = {label: number for number, label in enumerate(labels)}
        self._canonical = {}
        for number, label in enumerate(labels):
            # Older models have classes with spaces around them, which the rows have lost.
            for text in (label, label.strip()):
                self._canonical.setdefault(canonical_text(text), number)

    def _bind_classes(self, task: Task, unseen: Sequence[str]) -> None:
        """Bind the task, then number the labels that no training row has."""
        self.bind_task(task)
        self._bind_labels([*self.classes, *unseen])
