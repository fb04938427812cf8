"""Read the log of a training run and draw its curves, one line per candidate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
from markupsafe import Markup

from mmfeat.errors import DamagedFileError
from mmfeat.pages import display_name, format_setting
from mmfeat.storage import Count, check_value, files
from training.report.charts.svg import SERIES, new_chart, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTING_PREFIX = "tried_"

_LINE_STYLES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
"""Styles of lines of the same color, if there are more candidates than colors."""

_MARKERS = "os^Dv<>pP*"
"""Markers of lines: colors alone do not tell ten lines apart, least of all to everyone."""

_MARKED = 4
"""Most lines without markers."""

_LEGEND_CHARACTERS = 110
"""Characters that fit in one row of the legend."""


@dataclass
class Curve:
    """The log of one candidate.

    Attributes:
        name: its settings, for example `learning rate 0.001`.
        chosen: whether it became the model.
        values: name → one value per epoch; NaN if the log has none.
    """

    name: str
    chosen: bool
    epochs: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)


def read_curves(path: str, metric: str, chosen_settings: Mapping[str, Any]) -> list[Curve]:
    """Read the curves of log.jsonl; an empty list if there is no log.

    Args:
        path: path of the log.
        metric: validation metric to read beside the losses.
        chosen_settings: the chosen value of each setting that was tried.
    """
    curves: list[Curve] = []
    previous: dict[str, Any] = {}
    for entry in _read_log(path):
        settings = {
            name.removeprefix(_SETTING_PREFIX): value
            for name, value in entry.items()
            if name.startswith(_SETTING_PREFIX)
        }
        epoch = int(entry.get("epoch", 0))
        if not curves or settings != previous or epoch <= curves[-1].epochs[-1]:
            words = [f"{display_name(k)} {format_setting(v)}" for k, v in settings.items()]
            chosen = bool(settings) and all(
                chosen_settings.get(name) == value for name, value in settings.items()
            )
            curves.append(Curve(", ".join(words) or "training", chosen))
            previous = settings
        curves[-1].epochs.append(epoch)
        for name in dict.fromkeys(("loss", "val_loss", f"val_{metric}")):
            value = entry.get(name)
            number = float(value) if isinstance(value, int | float) else float("nan")
            curves[-1].values.setdefault(name, []).append(number)
    if len(curves) == 1:
        curves[0].chosen = True
    return curves


class _Entry(TypedDict):
    epoch: NotRequired[Count]


def _read_log(path: str) -> Sequence[Mapping[str, Any]]:
    if not files.exists(path):
        return []
    try:
        with files.open_input(path) as file:
            entries = [json.loads(line) for line in file if line.strip()]
    except (RecursionError, ValueError) as error:
        raise DamagedFileError(f"{path} must hold one JSON object per line") from error
    return check_value(entries, list[_Entry], path)


def draw_curves(curves: Sequence[Curve], metric: str, best_epoch: int | None) -> Markup:
    """Draw training loss, validation loss and validation metric, one line per candidate."""
    panels = {"loss": "Training loss", f"val_{metric}": f"Validation {display_name(metric)}"}
    panels = {"loss": panels["loss"], "val_loss": "Validation loss"} | panels
    shown = [
        name for name in panels if any(np.isfinite(curve.values[name]).any() for curve in curves)
    ]
    with new_chart("curves", 9.6, 3.3) as figure:
        all_axes = figure.subplots(1, max(len(shown), 1), squeeze=False)[0]
        for axes, name in zip(all_axes, shown, strict=False):
            for curve in sorted(curves, key=lambda curve: curve.chosen):
                _draw_curve(axes, curve, name, curves.index(curve), best_epoch, len(curves))
            axes.set_title(panels[name])
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = all_axes[0].get_legend_handles_labels()
        order = np.argsort([[curve.name for curve in curves].index(label) for label in labels])
        figure.legend(
            [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center",
            ncols=max(1, _LEGEND_CHARACTERS // (max(map(len, labels)) + 5)),
        )  # fmt: skip
        return to_svg(figure, "Training curves of each candidate; the table has the numbers")


def _draw_curve(
    axes: "Axes", curve: Curve, name: str, number: int, best_epoch: int | None, lines: int
) -> None:
    values = curve.values[name]
    cycle, position = divmod(number, len(SERIES))
    color, line_style = SERIES[position], _LINE_STYLES[cycle % len(_LINE_STYLES)]
    is_marked = lines > _MARKED or len(values) == 1
    axes.plot(
        curve.epochs, values, color=color, linestyle=line_style,
        marker=_MARKERS[number % len(_MARKERS)] if is_marked else None, markersize=4,
        markevery=(number % 3, max(1, len(values) // 5)) if len(values) > 3 else None,
        linewidth=2.4 if curve.chosen else 1.2, alpha=1 if curve.chosen else 0.8, label=curve.name,
    )  # fmt: skip
    if curve.chosen and best_epoch in curve.epochs:
        best = values[curve.epochs.index(best_epoch)]
        axes.plot([best_epoch], [best], "o", color=color, markersize=8)
