"""Describe labels that may be mistakes: words for "no value", near-equal labels, single rows."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from mmfeat.records import is_null_word

_SHOWN = 5
"""Labels that a message names."""


def describe_odd_labels(counts: Mapping[str, int], multilabel: bool = False) -> list[str]:
    """Return one line for each kind of odd label; nothing if there are none.

    Args:
        counts: label → number of rows.
        multilabel: whether a row may have several labels.
    """
    kind = "label" if multilabel else "class"
    lines = []
    if words := [label for label in counts if is_null_word(label)]:
        lines.append(
            f"{_enumerate(words, counts)} may mean that there is no target; as it is, each is a "
            f"{kind}. --null-labels {','.join(words)} leaves its rows out"
        )
    groups = _near_equal(counts)
    if groups:
        shown = "; ".join(_enumerate(group, counts) for group in groups[:_SHOWN])
        lines.append(f"labels that differ in case or inner spaces only: {_more(shown, groups)}")
    if single := [label for label, rows in counts.items() if rows == 1]:
        shown = ", ".join(map(repr, single[:_SHOWN]))
        lines.append(f"labels of one row: {_more(shown, single)}")
    return lines


def _near_equal(labels: Collection[str]) -> list[list[str]]:
    groups = defaultdict(list)
    for label in labels:
        groups["".join(label.casefold().split())].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _enumerate(labels: Sequence[str], counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label!r} ({counts[label]:,} rows)" for label in labels)


def _more(shown: str, labels: Sequence[object]) -> str:
    more = len(labels) - _SHOWN
    return shown + (f" and {more:,} more" if more > 0 else "")
