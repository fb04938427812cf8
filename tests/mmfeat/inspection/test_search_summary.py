"""`mmfeat info` shows what a search chose, and values of a stranger's model do no harm."""

from typing import Any

import pytest

from mmfeat.cli.search_lines import search_lines
from mmfeat.inspection.search_summary import describe_search

METRICS: dict[str, Any] = {
    "headline": "Fusion beats the best single modality by 0.1",
    "metric": "accuracy",
    "model": "0.5 kernel + 0.5 ridge",
    "candidates": [
        {
            "model": "kernel", "accuracy": 0.91, "loss": 0.3, "behind": 0.0, "tied": True,
            "weight": 0.5, "settings": "gamma 0.1",
        },
        {"model": "text: ridge", "accuracy": None, "loss": 0.9, "tied": False, "weight": 0.0},
    ],
    "search": {"dropped": {"gmu": "no budget left"}},
    "explanation": ["saved: the ensemble"],
}  # fmt: skip


def test_a_search_is_shown_with_all_its_candidates() -> None:
    lines = dict(search_lines(describe_search(METRICS)))
    assert lines == {
        "search": "Fusion beats the best single modality by 0.1",
        "chosen": "0.5 kernel + 0.5 ridge",
        "  kernel": "accuracy 0.910, loss 0.300, weight 0.500, tied with the best, gamma 0.1",
        "  text: ridge": "loss 0.900",
        "  gmu": "dropped: no budget left",
        "  note": "saved: the ensemble",
    }


def test_a_model_of_a_named_fusion_has_no_search() -> None:
    without = {name: value for name, value in METRICS.items() if name != "search"}
    assert describe_search(without) == {}
    assert search_lines({}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"search": "yes"},
        {"explanation": 5},
        {"explanation": [None, "x" * 10_000] * 100},
        {"metric": ["accuracy"]},
        {"search": {"dropped": [1]}, "candidates": {"a": 1}, "metric": ["accuracy"]},
        {"candidates": [None, 3, {"model": {}, "loss": float("nan"), "accuracy": "x" * 10_000}]},
        {"headline": 5, "model": None, "candidates": [{}] * 1000},
    ],
)
def test_wrong_types_and_long_texts_are_bounded(change: dict[str, Any]) -> None:
    search = describe_search({**METRICS, **change})
    assert len(search.get("candidates", [])) <= 50
    assert all(len(text) < 1000 for line in search_lines(search) for text in line)
