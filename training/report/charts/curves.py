"""The log of a training run as curves, one a candidate."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmfeat.store import files
from training.report.text import setting, title

_TRIED = "tried_"


@dataclass
class Curve:
    """What the log says of one candidate.

    Attributes:
        name: what was tried, as `learning rate 0.001`.
        chosen: whether it became the model.
        points: name → its values, one an epoch; NaN where the log has none.
    """

    name: str
    chosen: bool
    epochs: list[int] = field(default_factory=list)
    points: dict[str, list[float]] = field(default_factory=dict)


def read_curves(path: str, metric: str, choice: Mapping[str, Any]) -> list[Curve]:
    """The curves of log.jsonl; none where there is no log.

    Args:
        path: of the log.
        metric: validation metric to follow, beside the losses.
        choice: holds the values that were chosen, under the names that were tried.
    """
    curves: list[Curve] = []
    previous: dict[str, Any] = {}
    for line in _lines(path):
        tried = {k.removeprefix(_TRIED): v for k, v in line.items() if k.startswith(_TRIED)}
        epoch = int(line.get("epoch", 0))
        if not curves or tried != previous or epoch <= curves[-1].epochs[-1]:
            name = ", ".join(f"{title(k)} {setting(v)}" for k, v in tried.items()) or "training"
            chosen = bool(tried) and all(choice.get(k) == v for k, v in tried.items())
            curves.append(Curve(name, chosen))
            previous = tried
        curves[-1].epochs.append(epoch)
        for wanted in ("loss", "val_loss", f"val_{metric}"):
            value = line.get(wanted)
            kept = float(value) if isinstance(value, int | float) else float("nan")
            curves[-1].points.setdefault(wanted, []).append(kept)
    if len(curves) == 1:
        curves[0].chosen = True
    return curves


def _lines(path: str) -> list[dict[str, Any]]:
    if not files.exists(path):
        return []
    with files.open_input(path) as file:
        return [json.loads(line) for line in file if line.strip()]
