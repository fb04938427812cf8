"""The report of a comparison."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import MmfeatError
from training.report import write_compare_report
from training.report.comparison import Comparison, read_comparison


def row(name: str, mean: float, flops: int, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": name, "fusion": "concat", "combination": "mlp", "modalities": "image,text",
        "lr": 0.001, "seeds": 5, "mean": mean, "sd": 0.01, "low": mean - 0.02,
        "high": mean + 0.02, "val_mean": mean, "difference": mean - 0.9, "p_value": 0.2,
        "tied": False, "emap": None, "emap_full": mean, "uses_interaction": None,
        "parameters": flops // 2, "flops": flops, "train_rows_per_second": 1000.0,
        "score_rows_per_second": 1e9 / flops,
        "peak_memory_mb": 500.0, "pareto": False, "picked": False,
    }  # fmt: skip
    return values | more


ROWS = [
    row(
        "small", 0.88, 1000, tied=True, picked=True, pareto=True, emap=0.88, uses_interaction=False
    ),
    row("large", 0.90, 9000, tied=True, pareto=True, emap=0.7, uses_interaction=True),
    row("middle", 0.89, 5000, tied=True),
    row("worse", 0.5, 100, pareto=True, p_value=1e-5),
]


@pytest.fixture
def make_comparison(tmp_path: Path) -> Callable[..., str]:
    def make(rows: list[dict[str, Any]] = ROWS, **config: Any) -> str:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "leaderboard.parquet")
        config = {"metric": "accuracy", "task": "multiclass", "target": "label"} | config
        claim = {"kind": "comparison", "hash": "", "config": config}
        (tmp_path / "config.json").write_text(json.dumps(claim))
        return str(tmp_path)

    return make


def test_best_model_comes_first(make_comparison, read_page) -> None:
    page = read_page(write_compare_report(make_comparison()))
    names = [cells[0].split()[0] for cells in page.tables["leaderboard"][1:]]
    assert names == ["large", "middle", "small", "worse"]
    cells = page.tables["leaderboard"][1]
    assert cells[1:4] == ["0.900", "0.880 – 0.920", "0.010"]
    assert cells[7] == "best mean"
    assert page.tables["leaderboard"][2][7] == "tie"
    assert page.tables["leaderboard"][4][6] == "< 0.001"


def test_verdict_names_the_picked_model_and_the_reasons(make_comparison, read_page) -> None:
    page = read_page(write_compare_report(make_comparison()))
    assert (
        "Picked: small, accuracy 0.880 [0.860, 0.900]. It is tied with 2 others, among them the "
        "best mean, large (0.900). Of the 3 tied models it has the fewest FLOPs per record (1 k), "
        "the fewest parameters (500) and the most rows scored per second (1 M)."
    ) in page.text


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row("a", 0.9, 10, picked=True), row("b", 0.8, 5)], "no other model ties with it."),
        (
            [row("a", 0.9, 10, picked=True, tied=True), row("b", 0.8, 50, tied=True)],
            "It is tied with 1 other. Of the 2 tied models it has the fewest FLOPs",
        ),
        (
            [
                row("a", 0.9, 90, tied=True, picked=True),
                row("b", 0.9, 50, tied=True),
                row("c", 0.8, 7000, tied=True),
                row("d", 0.5, 10),
            ],
            "[0.880, 0.920]. It is tied with 2 others. The cheapest of them is b (50 FLOPs per "
            "record).",
        ),
        (
            [row("a", 0.9, 10), row("b", 0.8, 5, picked=True)],
            "It is significantly worse than the best mean on the test rows, a (0.900).",
        ),
        (
            [
                row("a", 0.9, 10, tied=True),
                row("b", 0.8, 5, picked=True),
                row("c", 0.89, 7, tied=True),
            ],
            "the best mean on the test rows, a (0.900), which is tied with 1 other. The cheapest "
            "of them is c (7 FLOPs per record).",
        ),
        ([row("a", 0.9, 10)], ""),
    ],
)
def test_other_verdicts(rows: list[dict[str, Any]], verdict: str) -> None:
    assert verdict in Comparison(rows, "accuracy", higher_is_better=True).verdict()


def test_page_lists_models_with_and_without_interaction(make_comparison, read_page) -> None:
    page = read_page(write_compare_report(make_comparison()))
    text = " ".join(page.text.split())
    assert "gain nothing from interaction; their EMAP scores as well: small (EMAP 0.880, m" in text
    assert "gain from interaction; their EMAP scores worse: large (EMAP 0.700, model 0.900)" in text


def test_page_names_what_a_time_limit_left_out(make_comparison, read_page) -> None:
    folder = make_comparison()
    assert "time limit" not in read_page(write_compare_report(folder)).text
    assert (
        "left out: gmu (seeds 1, 4), <b> (seeds 0)."
        in read_page(write_compare_report(folder, {"gmu": [1, 4], "<b>": [0]})).text
    )


def test_one_seed_has_no_deviation(make_comparison, read_page) -> None:
    rows = [row("a", 0.9, 10, seeds=1, sd=0.0), row("b", 0.8, 5, seeds=2, sd=0.0)]
    page = read_page(write_compare_report(make_comparison(rows)))
    assert [cells[3] for cells in page.tables["leaderboard"][1:]] == ["–", "0.000"]


def test_lower_errors_are_better(make_comparison, read_page) -> None:
    page = read_page(write_compare_report(make_comparison(metric="mae", higher_is_better=False)))
    assert page.tables["leaderboard"][1][0].startswith("worse")
    assert "(lower is better)" in page.text


@pytest.mark.parametrize("missing", ["flops", "pareto", "emap", "low", "p_value", "picked"])
def test_columns_may_be_null_or_missing(make_comparison, read_page, missing: str) -> None:
    for rows in (
        [{**r, missing: None} for r in ROWS],
        [{k: v for k, v in r.items() if k != missing} for r in ROWS],
    ):
        page = read_page(write_compare_report(make_comparison(rows)))
        assert len(page.tables["leaderboard"]) == 5


def test_names_are_escaped_in_page_and_chart(make_comparison) -> None:
    name = "<script>alert(1)</script>$x$"
    rows = [row(name, 0.9, 10, picked=True, pareto=True), row("b", 0.8, 5)]
    source = Path(write_compare_report(make_comparison(rows))).read_text("utf-8")
    assert source.count("<script>") == 1  # The script of the page, which sorts.
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x$" in source


def test_missing_leaderboard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MmfeatError, match="leaderboard"):
        read_comparison(str(tmp_path), "accuracy", True)
