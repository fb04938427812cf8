"""The charts of a model's page."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.report.charts.curves import Curve
from training.report.charts.reliability import BINS, Bins, Reliability
from training.report.charts.svg import GRID, INK, MUTED, SERIES, inline, look
from training.report.charts.weights import BINS as WEIGHT_BINS
from training.report.charts.weights import WeightHistograms
from training.report.pairs import Pairs
from training.report.text import plain, title

DOTS = 1000
"""Points that a scatter draws; more would be a blot, and a large page."""

LEGEND = 110
"""Letters that fit side by side below the curves."""


def draw_curves(curves: Sequence[Curve], metric: str, best_epoch: int | None) -> Markup:
    """Loss in training, and loss and metric on validation, a line a candidate."""
    panels = {"loss": "Training loss", "val_loss": "Validation loss"}
    panels[f"val_{metric}"] = f"Validation {title(metric)}"
    shown = [
        name for name in panels if any(np.isfinite(curve.points[name]).any() for curve in curves)
    ]
    with look("curves"):
        figure = Figure(figsize=(9.6, 3.3), layout="constrained")
        all_axes = figure.subplots(1, max(len(shown), 1), squeeze=False)[0]
        for axes, name in zip(all_axes, shown, strict=False):
            for curve in sorted(curves, key=lambda curve: curve.chosen):
                _curve(axes, curve, name, SERIES[curves.index(curve) % len(SERIES)], best_epoch)
            axes.set_title(panels[name])
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = all_axes[0].get_legend_handles_labels()
        order = np.argsort([[curve.name for curve in curves].index(label) for label in labels])
        figure.legend(
            [handles[i] for i in order], [labels[i] for i in order],
            loc="outside lower center", ncols=max(1, LEGEND // (max(map(len, labels)) + 5)),
        )  # fmt: skip
        return inline(figure, "Training curves of each candidate; the numbers stand in the table")


def _curve(axes: Axes, curve: Curve, name: str, colour: str, best_epoch: int | None) -> None:
    values = curve.points[name]
    dot = "o" if len(values) == 1 else None
    width = 2.2 if curve.chosen else 1.1
    axes.plot(
        curve.epochs, values, marker=dot, color=colour, linewidth=width,
        alpha=1 if curve.chosen else 0.65, label=curve.name,
    )  # fmt: skip
    if curve.chosen and best_epoch in curve.epochs:
        best = values[curve.epochs.index(best_epoch)]
        axes.plot([best_epoch], [best], "o", color=colour, markersize=6)


def draw_reliability(reliability: Reliability) -> Markup:
    """Confidence against the share that was right, and below it how often each was given."""
    with look("reliability"):
        figure = Figure(figsize=(4.7, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        top.plot([0, 1], [0, 1], linestyle=(0, (3, 3)), color=MUTED, linewidth=1, label="ideal")
        for bins, colour, label in (
            (reliability.before, SERIES[1], "before"),
            (reliability.after, SERIES[0], "after"),
        ):
            if bins is not None:
                _reliability_line(top, bins, colour, label)
        top.set_ylabel("share that was right")
        top.set_ylim(-0.02, 1.02)
        top.set_xlim(-0.02, 1.02)
        top.legend(loc="upper left")
        rows = reliability.after.rows
        bottom.bar((np.arange(BINS) + 0.5) / BINS, rows, 0.85 / BINS, color=SERIES[0], alpha=0.6)
        bottom.set_ylabel("answers")
        bottom.set_xlabel("confidence")
        return inline(figure, "Reliability diagram; the errors of calibration stand in the table")


def _reliability_line(axes: Axes, bins: Bins, colour: str, label: str) -> None:
    x, y = bins.points
    rows = bins.rows[bins.rows > 0]
    axes.plot(x, y, "-", color=colour, linewidth=1, alpha=0.6)
    axes.scatter(x, y, 12 + 90 * np.sqrt(rows / rows.max()), color=colour, alpha=0.75, linewidth=0)
    axes.plot([], [], "o", color=colour, label=f"{label}: ECE {bins.ece:.3f}")


def draw_weights(weights: WeightHistograms) -> Markup:
    """A histogram of each modality's weight."""
    with look("weights"):
        shown = [column for column, rows in enumerate(weights.rows) if rows]
        figure = Figure(figsize=(min(9.6, 3.4 * len(shown)), 2.5), layout="constrained")
        all_axes = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, column in zip(all_axes, shown, strict=True):
            rows = weights.rows[column]
            mean = weights.sums[column] / rows
            axes.bar(
                (np.arange(WEIGHT_BINS) + 0.5) / WEIGHT_BINS, weights.counts[column],
                0.92 / WEIGHT_BINS, color=SERIES[column % len(SERIES)],
            )  # fmt: skip
            axes.axvline(mean, color=INK, linewidth=1.2)
            axes.set_title(f"{plain(weights.columns[column], 24)}, mean {mean:.2f}")
            axes.set_xlim(0, 1)
            axes.set_xlabel("weight")
        all_axes[0].set_ylabel("rows")
        return inline(figure, "Histograms of the modality weights; their means stand in the table")


def draw_pairs(pairs: Pairs, target: str) -> Markup:
    """Predicted against true numbers, and the histogram of their differences."""
    with look("pairs"):
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
        true, said = pairs.values[:DOTS].T
        low, high = min(true.min(), said.min()), max(true.max(), said.max())
        left.plot([low, high], [low, high], linestyle=(0, (3, 3)), color=MUTED, linewidth=1)
        left.plot(true, said, "o", color=SERIES[0], markersize=3, alpha=0.45, markeredgewidth=0)
        left.set_xlabel(f"true {plain(target, 30)}")
        left.set_ylabel("predicted")
        left.set_title("Predicted against true")
        residuals = pairs.values[:, 1] - pairs.values[:, 0]
        right.hist(residuals, bins=30, color=SERIES[0], edgecolor=GRID, linewidth=0.4)
        right.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        right.axvline(pairs.bias, color=SERIES[1], linewidth=1.6)
        right.set_xlabel("predicted − true")
        right.set_ylabel("rows")
        right.set_title("Residuals")
        return inline(figure, "Predicted against true numbers, and a histogram of the residuals")


def sparkline(counts: Sequence[int] | np.ndarray) -> str:
    """The path of a small histogram in a box of `WEIGHT_BINS` by 10."""
    largest = max(1, int(np.max(counts)))
    return "".join(
        f"M{place} 10v-{10 * count / largest:.1f}h.85v{10 * count / largest:.1f}z"
        for place, count in enumerate(counts)
        if count
    )
