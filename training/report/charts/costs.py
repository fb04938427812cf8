"""Draw the chart of a comparison: quality against cost."""

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from training.report.charts.svg import INK, MUTED, SERIES, chart_style, to_svg
from training.report.comparison import Comparison
from training.report.text import clean_text, display_name, format_compact

_MAX_NAMES = 12
_AXIS_LABELS = {
    "flops": "FLOPs per record",
    "parameters": "parameters",
    "score_rows_per_second": "rows scored per second (more is cheaper)",
    "peak_memory_mb": "peak memory, MB",
}


def draw_costs(comparison: Comparison) -> Markup | str:
    """Draw each model with its interval and name, and the Pareto front.

    Returns:
        The chart; an empty text if no row has a cost.
    """
    cost = comparison.cost
    rows = [row for row in comparison.rows if row.get(cost) is not None and row[cost] > 0]
    if not rows:
        return ""
    with chart_style("costs"):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        axes = figure.subplots()
        for row in rows:
            color = _color(row)
            if row.get("low") is not None and row.get("high") is not None:
                interval = [row["low"], row["high"]]
                axes.plot([row[cost]] * 2, interval, color=color, linewidth=1, alpha=0.55)
            picked = row.get("picked")
            axes.plot(
                [row[cost]], [row["mean"]], "D" if picked else "o", color=color,
                markersize=9 if picked else 5.5,
                markerfacecolor=color if row.get("tied") or picked else "none",
            )  # fmt: skip
        front = sorted((row for row in rows if row.get("pareto")), key=lambda row: row[cost])
        points = [row[cost] for row in front], [row["mean"] for row in front]
        axes.plot(*points, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _draw_names(axes, rows, cost)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_compact(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        if cost == "score_rows_per_second":
            axes.invert_xaxis()
        if not comparison.higher_is_better:
            axes.invert_yaxis()
        axes.margins(x=0.12, y=0.1)
        axes.set_xlabel(_AXIS_LABELS[cost])
        axes.set_ylabel(display_name(comparison.metric))
        return to_svg(figure, "Quality against cost; the table has the numbers")


def _color(row: dict[str, Any]) -> str:
    if row.get("picked"):
        return SERIES[1]
    return SERIES[0] if row.get("pareto") else SERIES[7]


def _draw_names(axes: Axes, rows: list[dict[str, Any]], cost: str) -> None:
    """Write the names of the picked model, the front and the best; skip names that overlap."""
    lowest, highest = np.log10([min(r[cost] for r in rows), max(r[cost] for r in rows)])
    means = [row["mean"] for row in rows]
    width, height = (highest - lowest) or 1, (max(means) - min(means)) or 1
    positions: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (not row.get("picked"), not row.get("pareto"))):
        x, y = (np.log10(row[cost]) - lowest) / width, row["mean"] / height
        overlaps = any(abs(x - u) <= 0.18 and abs(y - v) <= 0.06 for u, v in positions)
        if overlaps or len(positions) == _MAX_NAMES:
            continue
        positions.append((x, y))
        axes.annotate(
            clean_text(row["name"], 34), (row[cost], row["mean"]), xytext=(7, 5),
            textcoords="offset points", fontsize=8.5,
            color=INK if row.get("picked") or row.get("pareto") else MUTED,
            fontweight="bold" if row.get("picked") else "normal",
        )  # fmt: skip
