"""The chart of a comparison: quality against cost."""

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from training.report.charts.svg import INK, MUTED, SERIES, inline, look
from training.report.leaderboard import Leaderboard
from training.report.text import compact, plain, title

_NAMED = 12
_AXES = {
    "flops": "FLOPs a record",
    "parameters": "parameters",
    "score_rows_per_second": "rows scored a second (more is cheaper)",
    "peak_memory_mb": "peak memory, MB",
}


def draw_costs(board: Leaderboard) -> Markup | str:
    """Each row with its interval, the front of those that nothing beats in both, and names.

    Empty where no row has a cost.
    """
    cost = board.cost
    rows = [row for row in board.rows if row.get(cost) is not None and row[cost] > 0]
    if not rows:
        return ""
    with look("costs"):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        axes = figure.subplots()
        for row in rows:
            colour = _colour(row)
            if row.get("low") is not None and row.get("high") is not None:
                ends = [row["low"], row["high"]]
                axes.plot([row[cost]] * 2, ends, color=colour, linewidth=1, alpha=0.55)
            face = "none" if not (row.get("tied") or row.get("picked")) else colour
            size = 9 if row.get("picked") else 5.5
            axes.plot(
                [row[cost]], [row["mean"]], "D" if row.get("picked") else "o",
                color=colour, markersize=size, markerfacecolor=face,
            )  # fmt: skip
        front = sorted((row for row in rows if row.get("pareto")), key=lambda row: row[cost])
        places = [row[cost] for row in front], [row["mean"] for row in front]
        axes.plot(*places, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _write_names(axes, rows, cost)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        if cost == "score_rows_per_second":
            axes.invert_xaxis()
        if not board.higher:
            axes.invert_yaxis()
        axes.margins(x=0.12, y=0.1)
        axes.set_xlabel(_AXES[cost])
        axes.set_ylabel(title(board.metric))
        return inline(figure, "Quality against cost; the numbers stand in the table")


def _colour(row: dict[str, Any]) -> str:
    if row.get("picked"):
        return SERIES[1]
    return SERIES[0] if row.get("pareto") else SERIES[7]


def _write_names(axes: Any, rows: list[dict[str, Any]], cost: str) -> None:
    """Names of the front and the picked one first, then of the best; those in the way are not
    written."""
    lowest, highest = np.log10([min(r[cost] for r in rows), max(r[cost] for r in rows)])
    means = [row["mean"] for row in rows]
    wide, tall = (highest - lowest) or 1, (max(means) - min(means)) or 1
    written: list[tuple[float, float]] = []
    ranked = sorted(rows, key=lambda row: (not row.get("picked"), not row.get("pareto")))
    for row in ranked:
        x, y = (np.log10(row[cost]) - lowest) / wide, row["mean"] / tall
        if len(written) < _NAMED and all(
            abs(x - u) > 0.18 or abs(y - v) > 0.06 for u, v in written
        ):
            written.append((x, y))
            axes.annotate(
                plain(row["name"], 34), (row[cost], row["mean"]), xytext=(7, 5),
                textcoords="offset points", fontsize=8.5,
                color=INK if row.get("picked") or row.get("pareto") else MUTED,
                fontweight="bold" if row.get("picked") else "normal",
            )  # fmt: skip
