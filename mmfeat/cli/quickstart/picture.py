"""Draw a picture of a run: accuracies, and samples with predictions and modality weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

_COLUMNS = 4
_CORRECT_COLOUR, _WRONG_COLOUR = "#2e7d32", "#c62828"
_WEIGHT_COLOURS = ("#3b6fb6", "#e08a3c", "#6a994e", "#8d6cab")


@dataclass(frozen=True)
class ShownSample:
    """A sample with its prediction.

    Attributes:
        image: path of the picture.
        weights: modality → weight; they sum to 1.
    """

    image: Path
    text: str
    label: str
    prediction: str
    probability: float
    weights: Mapping[str, float]


def draw_picture(
    path: Path, samples: Sequence[ShownSample], accuracies: Mapping[str, float]
) -> None:
    """Write a PNG with a bar per accuracy, then the samples in rows of four."""
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        rows = -(-len(samples) // _COLUMNS)
        figure = Figure(figsize=(11, 2.0 + 3.0 * rows), layout="constrained")
        grid = figure.add_gridspec(
            2 * rows + 1, _COLUMNS, height_ratios=[1.3, *([2.0, 0.45] * rows)]
        )
        _draw_accuracies(figure.add_subplot(grid[0, :]), accuracies)
        for index, sample in enumerate(samples):
            row, column = divmod(index, _COLUMNS)
            _draw_sample(figure.add_subplot(grid[2 * row + 1, column]), sample)
            _draw_weights(figure.add_subplot(grid[2 * row + 2, column]), sample.weights)
        figure.savefig(path, dpi=110)


def _draw_accuracies(axes: Axes, accuracies: Mapping[str, float]) -> None:
    names = list(accuracies)[::-1]
    bars = axes.barh(names, [accuracies[name] for name in names], color="#5b7c99", height=0.62)
    axes.bar_label(bars, fmt="%.3f", padding=4)
    axes.set_xlim(0, 1.08)
    axes.set_title("Accuracy on the test split", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_sample(axes: Axes, sample: ShownSample) -> None:
    axes.imshow(Image.open(sample.image))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(fill(sample.text, 30), fontsize=8.5)
    correct = sample.prediction == sample.label
    prediction = f"{sample.prediction} ({sample.probability:.0%})"
    axes.set_xlabel(
        prediction if correct else f"{prediction}, is {sample.label}",
        color=_CORRECT_COLOUR if correct else _WRONG_COLOUR,
        fontweight="bold",
    )


def _draw_weights(axes: Axes, weights: Mapping[str, float]) -> None:
    start = 0.0
    for (name, weight), colour in zip(weights.items(), _WEIGHT_COLOURS, strict=False):
        axes.barh([0], [weight], left=[start], color=colour, height=0.5)
        axes.text(
            start + weight / 2, 0, f"{name} {weight:.2f}", ha="center", va="center",
            color="white", fontsize=7.5,
        )  # fmt: skip
        start += weight
    axes.set_xlim(0, 1)
    axes.axis("off")
