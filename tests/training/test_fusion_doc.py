"""The pages about fusions and training have a line for every name that the options take."""

import re
from pathlib import Path
from typing import get_args

import pytest

from mmfeat.models.architecture import WHOLE_MODELS
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS
from training.config import ModelOptions, TaskName
from training.objectives import OBJECTIVES
from training.objectives.imbalance import AUTO, Imbalance

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "fusion.md").read_text("utf-8")
TRAINING = (DOCS / "training.md").read_text("utf-8")


def lines_of(flag: str, page: str = PAGE) -> dict[str, str]:
    """First cell → line, of the tables whose first column is the flag."""
    found: dict[str, str] = {}
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *lines = table.splitlines()
        if head.startswith(f"| `--{flag}` |"):
            found |= {re.match(r"\| `(\w+)`", line)[1]: line for line in lines}  # type: ignore[index]
    return found


def test_every_fusion_and_combination_has_its_line_and_no_other_is_named() -> None:
    assert set(lines_of("fusion")) == {*FUSIONS, *WHOLE_MODELS}
    assert set(lines_of("combination")) == set(COMBINATIONS)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_line_says_whether_the_fusion_weighs_and_cites_what_its_code_cites(name: str) -> None:
    line = lines_of("fusion")[name]
    assert ("**w**" in line) == FUSIONS[name].weighs
    module = __import__(FUSIONS[name].__module__, fromlist=["x"])
    cited = set(re.findall(r"arXiv:[\d.]+\d", f"{module.__doc__} {FUSIONS[name].__doc__}"))
    assert cited == set(re.findall(r"arXiv:[\d.]+\d", line))


def test_the_defaults_are_marked() -> None:
    assert "(default)" in lines_of("combination")[ModelOptions().combination]
    assert [name for name, line in lines_of("fusion").items() if "(default)" in line] == ["gmu"]


def test_every_task_names_its_metrics_the_default_first() -> None:
    lines = lines_of("task", TRAINING)
    assert set(lines) == set(get_args(TaskName))
    for name in ("multiclass", "multilabel", "regression"):
        told = re.findall(r"`(\w+)`", lines[name].rsplit("|", 2)[1])
        assert tuple(told) == OBJECTIVES[name].metrics


def test_every_treatment_of_imbalance_has_its_line() -> None:
    assert {AUTO, *lines_of("imbalance", TRAINING)} == set(get_args(Imbalance))
