"""Say which labels of evaluated rows the model does not know, and how they differ from classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.errors import suggest

_SHOWN = 5
"""Labels and classes that a message names."""


@dataclass(frozen=True)
class UnseenLabels:
    """Labels of some rows that no training row has.

    Attributes:
        rows: label → number of rows.
        known: number of labels of these rows that are classes.
        classes: the classes of the model.
    """

    rows: Mapping[str, int]
    known: int
    classes: Sequence[str]

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> "UnseenLabels":
        """Return the unseen labels in a result of `Objective.evaluate`."""
        known = sum(row["support"] for row in result.get("per_class", {}).values())
        return cls(result.get("unseen_labels", {}), known, result.get("classes", []))

    @property
    def are_most(self) -> bool:
        """Whether at least half of the labels are unseen: they may be spelled differently."""
        return bool(self.rows) and sum(self.rows.values()) >= self.known

    def __str__(self) -> str:
        """Describe the labels in one line; empty text if there are none."""
        if not self.rows:
            return ""
        unseen = sum(self.rows.values())
        share = f"{unseen:,} of {unseen + self.known:,}" if self.known else f"all {unseen:,}"
        classes_by_form = {_simplify(name): name for name in self.classes}
        most_frequent = sorted(self.rows, key=lambda label: -self.rows[label])[:_SHOWN]
        labels = [
            f"{label!r} ({self.rows[label]:,}{_find_similar(label, classes_by_form)})"
            for label in most_frequent
        ]
        classes = [*map(repr, self.classes[:_SHOWN])]
        return (
            f"{share} labels are unknown to the model: {_shorten(labels, len(self.rows))}. "
            f"Its classes: {_shorten(classes, len(self.classes))}"
        )


def _find_similar(label: str, classes_by_form: Mapping[str, str]) -> str:
    form = _simplify(label)
    close = suggest(form, classes_by_form, cutoff=0.8)
    return f", the model has {classes_by_form[close]!r}" if close else ""


def _simplify(label: str) -> str:
    """Return a label without case, spaces at its ends and leading zeros."""
    text = label.strip().casefold()
    return text.lstrip("0") or text


def _shorten(parts: Sequence[str], total: int) -> str:
    more = total - len(parts)
    return ", ".join(parts) + (f" and {more:,} more" if more else "")
