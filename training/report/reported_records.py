"""The records of a report: rows of the predictions with their previews, and values to filter by."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmfeat.inspection import Preview
from training.report.top_losses import ReportedRow

_MAX_OPTIONS = 400
"""Most values that a filter offers."""


def merge_rows(
    top: Sequence[ReportedRow], cells: Sequence[ReportedRow]
) -> list[tuple[str, ReportedRow]]:
    """Return each row once with its group: `top`, or `cell` for further rows of the confusion."""
    seen = {_place(row) for row in top}
    further = [row for row in cells if _place(row) not in seen]
    return [("top", row) for row in top] + [("cell", row) for row in further]


def describe_records(
    rows: Sequence[tuple[str, ReportedRow]], previews: Mapping[tuple[str, str], Preview]
) -> dict[str, Any]:
    """Return the variables of the template about records.

    Args:
        rows: the rows of `merge_rows`.
        previews: (shard, key) → preview, of the records that are found in the shards.

    Returns:
        `records`; `top_losses`, how many of them have the largest losses; `cells`: (true class,
        predicted class) → number of records on the page; `filters`: name → values and counts.
    """
    labels = [label for _, item in rows for label in item.row.labels]
    predictions = [label for _, item in rows for label in item.row.predictions]
    return {
        "records": [
            {
                "row": item.row,
                "media": previews.get(_place(item)),
                "more": {"subset": item.subset, "group": group},
            }
            for group, item in rows
        ],
        "top_losses": sum(group == "top" for group, _ in rows),
        "cells": Counter((*item.row.labels, *item.row.predictions) for _, item in rows),
        "filters": {
            "label": _count(labels),
            "predicted": _count(predictions),
            "subset": _count(item.subset for _, item in rows if item.subset),
        },
    }


def _place(item: ReportedRow) -> tuple[str, str]:
    return item.row.shard, item.row.key


def _count(values: Iterable[str]) -> list[tuple[str, int]]:
    """Return each value with its number, the most frequent first."""
    return Counter(values).most_common(_MAX_OPTIONS)
