"""What a search for the best model chose, as the metrics of a trained model record it."""

import math
from collections.abc import Mapping
from typing import Any

_MAX_CANDIDATES = 50
"""Candidates that are shown, the best first."""

_MAX_CHARACTERS = 200

_MAX_LINES, _MAX_LINE = 10, 600
"""Lines of the explanation, and characters of each."""


def describe_search(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the search of a model found, JSON-ready.

    Args:
        metrics: the content of metrics.json. Values of wrong types are left out.

    Returns:
        `headline`, whether fusion beats the best single modality; `chosen`, the model; `metric`;
        `candidates`, the best first: `model`, the metric, `loss`, `weight` in the chosen model,
        `tied` with the best, `settings`; `dropped`: name of a model → why it was not trained on
        all rows; `explanation`: lines that say what was saved and why. Empty for a
        model of a named fusion.
    """
    search = metrics.get("search")
    if not isinstance(search, dict):
        return {}
    metric = _scalar(metrics.get("metric"))
    names = ("model", metric, "loss", "weight", "tied", "settings")
    candidates = metrics.get("candidates")
    if not isinstance(candidates, list):
        candidates = []
    dropped = search.get("dropped")
    reasons = list(dropped.items()) if isinstance(dropped, dict) else []
    explanation = metrics.get("explanation")
    lines = explanation if isinstance(explanation, list) else []
    found = {
        "headline": _scalar(metrics.get("headline")),
        "chosen": _scalar(metrics.get("model")),
        "metric": metric,
        "candidates": [
            {str(name): value for name in names if (value := _scalar(row.get(name))) is not None}
            for row in candidates[:_MAX_CANDIDATES]
            if isinstance(row, dict)
        ],
        "dropped": {name: _scalar(reason) for name, reason in reasons[:_MAX_CANDIDATES]},
        "explanation": [line[:_MAX_LINE] for line in lines[:_MAX_LINES] if isinstance(line, str)],
    }
    return {name: value for name, value in found.items() if value}


def _scalar(value: object) -> str | float | bool | None:
    """Return a text of bounded length, a finite number or a boolean; None for all else."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_CHARACTERS else value[:_MAX_CHARACTERS] + "…"
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return None
