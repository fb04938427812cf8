"""The page of a comparison, from its leaderboard.

config.json, leaderboard.parquet → DIR/report.html
"""

from typing import Any

from mmfeat.store import files
from mmfeat.store.directory import CONFIG
from training.report.charts.compare_chart import draw_costs
from training.report.leaderboard import Leaderboard, read_leaderboard
from training.report.page import render, write_page
from training.report.text import plain

_SHOWN = 400


def write_compare_report(compare_dir: str) -> str:
    """Write DIR/report.html of a comparison; returns its path.

    Raises:
        MmfeatError: no leaderboard there.
    """
    claim = files.read_json(files.join(compare_dir, CONFIG)) or {}
    config = claim.get("config", claim)
    board = read_leaderboard(
        compare_dir, str(config.get("metric", "score")), config.get("higher_is_better")
    )
    page = render(
        "compare.html",
        script="sort.js",
        name=plain(compare_dir.rstrip("/").rpartition("/")[2], 80),
        config=config,
        board=board,
        rows=board.rows[:_SHOWN],
        chart=draw_costs(board),
        place=_scale(board),
    )
    return write_page(compare_dir, page)


def _scale(board: Leaderboard) -> Any:
    """A function from a value of the metric to its place on a line of length 100."""
    ends = [
        row[name]
        for row in board.rows
        for name in ("low", "mean", "high")
        if row.get(name) is not None
    ]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0
    return lambda value: round(4 + 92 * (value - low) / width, 2)
