"""Format values for readers. Escaping is left to the templates."""

import math
from typing import Any

MISSING = "–"
_JOINERS = "\u200d"
"""Not printable by itself, but part of many emoji."""

_MAX_LABEL = 60


def clean_text(value: Any, limit: int = _MAX_LABEL) -> str:
    """Return one line of printable characters, at most `limit` long.

    Control characters, lone surrogates and marks that change the direction of writing become
    U+FFFD: they would break the page or a chart.
    """
    text = " ".join(str(value)[: 8 * limit].split())
    text = "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def format_number(value: Any) -> str:
    """Format a number with its significant digits: `0.913`, `12.4`, `1,234`."""
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if math.isnan(value):
            return MISSING
        case float() if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        case float():
            return _format_float(value)
    return clean_text(value)


def _format_float(value: float) -> str:
    size = abs(value)
    if size == 0 or 0.001 <= size < 10:
        text = f"{value:.3f}"
    elif size < 0.001:
        text = f"{value:.1e}"
    else:
        text = f"{value:,.{0 if size >= 1000 else 1}f}"
    return text.replace("-", "−") if value < 0 else text


def format_setting(value: Any) -> str:
    """Format a setting as the user typed it: `0.0003`."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_setting, value))
    return format_number(value) if isinstance(value, int | None) else clean_text(value, 200)


def format_compact(value: float | int | None) -> str:
    """Format a large number with three digits: `1.23 M`."""
    if value is None or not math.isfinite(value):
        return MISSING
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def format_bytes(value: float) -> str:
    """Format a number of bytes: `1.2 MB`."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f} bytes"


_DISPLAY_NAMES = {
    "auroc": "AUROC",
    "bleu": "BLEU",
    "chrf": "chrF",
    "cider": "CIDEr",
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


def display_name(name: str) -> str:
    """Return the name to show: `balanced_accuracy` → `balanced accuracy`, `f1` → `F1`."""
    if name in _DISPLAY_NAMES:
        return _DISPLAY_NAMES[name]
    return " ".join(_DISPLAY_NAMES.get(word, word) for word in clean_text(name).split("_"))
