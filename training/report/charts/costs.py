"""Draw the chart of a comparison: quality against FLOPs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from mmfeat.pages import clean_text, display_name, format_compact
from training.report.charts.svg import INK, MUTED, SERIES, new_chart, to_svg
from training.report.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAMES = 12


def draw_costs(comparison: Comparison) -> Markup | str:
    """Draw each model with its interval and name, and the Pareto front.

    Returns:
        The chart; an empty text if no row has FLOPs.
    """
    rows = [row for row in comparison.rows if row["flops"]]
    if not rows:
        return ""
    with new_chart("costs", 9.6, 4.6) as figure:
        axes = figure.subplots()
        for row in rows:
            color = _color(row)
            if row["low"] is not None and row["high"] is not None:
                interval = [row["low"], row["high"]]
                axes.plot([row["flops"]] * 2, interval, color=color, linewidth=1, alpha=0.55)
            picked = row["picked"]
            axes.plot(
                [row["flops"]], [row["mean"]], "D" if picked else "o", color=color,
                markersize=9 if picked else 5.5,
                markerfacecolor=color if row["tied"] or picked else "none",
            )  # fmt: skip
        front = sorted((row for row in rows if row["pareto"]), key=lambda row: row["flops"])
        points = [row["flops"] for row in front], [row["mean"] for row in front]
        axes.plot(*points, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _draw_names(axes, rows)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: format_compact(value))
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        if not comparison.higher_is_better:
            axes.invert_yaxis()
        axes.margins(x=0.12, y=0.1)
        axes.set_xlabel("FLOPs per record")
        axes.set_ylabel(display_name(comparison.metric))
        return to_svg(figure, "Quality against cost; the table has the numbers")


def _color(row: dict[str, Any]) -> str:
    if row["picked"]:
        return SERIES[1]
    return SERIES[0] if row["pareto"] else SERIES[7]


def _draw_names(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    """Write the names of the picked model, the front and the best; skip names that overlap."""
    lowest, highest = np.log10([min(r["flops"] for r in rows), max(r["flops"] for r in rows)])
    means = [row["mean"] for row in rows]
    width, height = (highest - lowest) or 1, (max(means) - min(means)) or 1
    positions: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (not row["picked"], not row["pareto"])):
        x, y = (np.log10(row["flops"]) - lowest) / width, row["mean"] / height
        overlaps = any(abs(x - u) <= 0.18 and abs(y - v) <= 0.06 for u, v in positions)
        if overlaps or len(positions) == _MAX_NAMES:
            continue
        positions.append((x, y))
        axes.annotate(
            clean_text(row["name"], 34), (row["flops"], row["mean"]), xytext=(7, 5),
            textcoords="offset points", fontsize=8.5,
            color=INK if row["picked"] or row["pareto"] else MUTED,
            fontweight="bold" if row["picked"] else "normal",
        )  # fmt: skip
