"""Draw a picture of a run: accuracies, and samples with predictions and modality weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from PIL import Image

_CORRECT, _WRONG = "#2e7d32", "#c62828"
_MODALITY_COLOURS = {"image": "#3b6fb6", "text": "#d9772b"}
_PAPER, _INK, _PALE = "#ffffff", "#24292f", "#eef1f4"


@dataclass(frozen=True)
class ShownSample:
    """A sample with its prediction.

    Attributes:
        image: path of the picture; None = the sample has none.
        text: empty = the sample has none.
        weights: modality → weight; they sum to 1.
    """

    image: Path | None
    text: str
    label: str
    prediction: str
    probability: float
    weights: Mapping[str, float]


def draw_picture(
    path: Path, groups: Mapping[str, Sequence[ShownSample]], accuracies: Mapping[str, float]
) -> None:
    """Write a PNG with a bar per accuracy, then a column of samples for each group.

    The background is white, so that it is readable on light and on dark pages.

    Args:
        path: the PNG.
        groups: title → samples.
        accuracies: model → accuracy.
    """
    rows = max(1, *map(len, groups.values()))
    with mpl.rc_context({"font.size": 11, "font.family": "DejaVu Sans", "text.color": _INK}):
        figure = Figure(figsize=(11, 2.1 + 3.05 * rows), facecolor=_PAPER)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
        parts = figure.add_gridspec(2, 1, height_ratios=[1.5, 3.05 * rows + 0.6])
        top, bottom = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
        _draw_accuracies(top.add_subplot(), accuracies)
        heights = [2.0, 0.5] * rows
        grid = bottom.subplots(
            len(heights), len(groups), squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for column, (title, samples) in enumerate(groups.items()):
            for row in range(rows):
                image_axes, weight_axes = grid[2 * row][column], grid[2 * row + 1][column]
                if row >= len(samples):
                    image_axes.axis("off")
                    weight_axes.axis("off")
                    continue
                _draw_sample(image_axes, samples[row])
                _draw_weights(weight_axes, samples[row].weights)
            heading = grid[0][column].get_title()
            grid[0][column].set_title(f"{title}\n", fontsize=11.5, fontweight="bold", pad=20)
            grid[0][column].text(
                0.5, 1.04, heading, transform=grid[0][column].transAxes, ha="center", fontsize=10.5
            )
        bottom.legend(
            handles=[Patch(color=colour, label=name) for name, colour in _MODALITY_COLOURS.items()],
            title="how much each modality counts", loc="outside lower center", ncols=2,
            frameon=False,
        )  # fmt: skip
        figure.savefig(path, dpi=120, facecolor=_PAPER)


def _draw_accuracies(axes: Axes, accuracies: Mapping[str, float]) -> None:
    names = list(accuracies)[::-1]
    colours = ["#8c98a4"] * len(names)
    colours[0] = _CORRECT
    bars = axes.barh(names, [accuracies[name] for name in names], color=colours, height=0.66)
    axes.bar_label(bars, fmt="%.3f", padding=5)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_title("Accuracy on the test split", loc="left", fontweight="bold", fontsize=11.5)
    axes.spines[:].set_visible(False)


def _draw_sample(axes: Axes, sample: ShownSample) -> None:
    """Draw the picture, with the text above and the prediction below."""
    if sample.image is None:
        axes.set_facecolor(_PALE)
        axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", color="#6e7781")
        axes.set_box_aspect(1)
    else:
        with Image.open(sample.image) as image:
            axes.imshow(image.convert("RGB"), interpolation="bicubic")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d0d7de")
    axes.set_title(f"“{sample.text}”" if sample.text else "no text", fontsize=10.5)
    correct = sample.prediction == sample.label
    mark = "✓" if correct else f"✗ is {sample.label}"
    axes.set_xlabel(
        f"{sample.prediction} {sample.probability:.0%} {mark}",
        color=_CORRECT if correct else _WRONG,
        fontweight="bold",
    )


def _draw_weights(axes: Axes, weights: Mapping[str, float]) -> None:
    start = 0.0
    for name, weight in weights.items():
        colour = _MODALITY_COLOURS.get(name, "#6a994e")
        axes.barh([0], [weight], left=[start], color=colour, height=0.5)
        if weight >= 0.12:
            axes.text(
                start + weight / 2, 0, f"{weight:.2f}", ha="center", va="center", color="white",
                fontsize=10, fontweight="bold",
            )  # fmt: skip
        start += weight
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.5, 0.5)
    axes.axis("off")
