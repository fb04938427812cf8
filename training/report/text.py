"""Values as a person reads them. What comes from data is escaped by the template, not here."""

import math
from typing import Any

ABSENT = "–"
_JOINERS = "\u200d"
"""Not printable by itself, and part of many emoji."""

_LONGEST_LABEL = 60


def plain(value: Any, limit: int = _LONGEST_LABEL) -> str:
    """One line of printable characters, cut to a length; what cannot be shown becomes U+FFFD.

    A lone surrogate or a control character would else make the page, or a chart, unreadable, and
    a mark that turns the direction of writing would turn what follows it.
    """
    text = " ".join(str(value)[: 8 * limit].split())
    text = "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def number(value: Any) -> str:
    """A number with as many digits as tell something: `0.913`, `12.4`, `1,234`."""
    match value:
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if math.isnan(value):
            return ABSENT
        case float() if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        case float():
            return _decimal(value)
    return plain(value)


def _decimal(value: float) -> str:
    size = abs(value)
    if size == 0 or 0.001 <= size < 10:
        text = f"{value:.3f}"
    elif size < 0.001:
        text = f"{value:.1e}"
    else:
        text = f"{value:,.{0 if size >= 1000 else 1}f}"
    return text.replace("-", "−") if value < 0 else text


def setting(value: Any) -> str:
    """A setting: `0.0003` stays what was typed."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    return number(value) if isinstance(value, int | None) else plain(value, 200)


def compact(value: float | int | None) -> str:
    """A large number in three digits: `1.23 M`."""
    if value is None or not math.isfinite(value):
        return ABSENT
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


_NAMES = {
    "auroc": "AUROC",
    "ece": "ECE",
    "emap": "EMAP",
    "f1": "F1",
    "flops": "FLOPs",
    "lr": "learning rate",
    "mae": "MAE",
    "map": "mAP",
    "mse": "MSE",
    "nll": "NLL",
    "r2": "R²",
    "rmse": "RMSE",
}


def title(name: str) -> str:
    """`balanced_accuracy` → `balanced accuracy`, `macro_f1` → `macro F1`."""
    if name in _NAMES:
        return _NAMES[name]
    return " ".join(_NAMES.get(word, word) for word in plain(name).split("_"))
