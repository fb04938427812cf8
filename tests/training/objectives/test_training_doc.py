"""docs/training.md has a row for each task and each method against imbalance."""

import re
from pathlib import Path
from typing import get_args

from mmfeat.models.architecture import Architecture
from training.config import ModelOptions, TaskName
from training.objectives.imbalance import AUTO, Imbalance
from training.objectives.registry import OBJECTIVES

PAGE = (Path(__file__).resolve().parents[3] / "docs/training.md").read_text("utf-8")


def rows_of(flag: str) -> dict[str, str]:
    """Return first cell → row of the table whose first column is the flag."""
    table = PAGE.split(f"| `--{flag}` |")[1].split("\n\n")[0]
    return {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)`.*", table, re.MULTILINE)}


def test_every_task_lists_its_metrics_in_order() -> None:
    rows = rows_of("task")
    assert set(rows) == set(get_args(TaskName))
    for name in ("multiclass", "multilabel", "regression", "describe"):
        metrics = re.findall(r"`(\w+)`", rows[name].rsplit("|", 2)[1])
        assert tuple(metrics) == OBJECTIVES[name].metrics


def test_every_method_against_imbalance_has_a_row() -> None:
    assert {AUTO, *rows_of("imbalance")} == set(get_args(Imbalance))


def test_options_and_architecture_have_the_same_defaults() -> None:
    options = ModelOptions()
    assert options.combination == Architecture.combination
    assert (options.hidden, options.dropout) == (Architecture.hidden, Architecture.dropout)
