"""The lines of `mmfeat info` about the search that chose a model."""

from collections.abc import Mapping
from typing import Any

from mmfeat.pages import clean_text, format_number


def search_lines(search: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the headline, the chosen model, a line for each candidate, the best first, and notes.

    Args:
        search: what `describe_search` returns; empty = no lines.
    """
    lines = [
        (name, clean_text(str(search[key]), 200))
        for name, key in (("search", "headline"), ("chosen", "chosen"))
        if key in search
    ]
    metric = search.get("metric")
    for row in search.get("candidates", []):
        words = [
            f"{clean_text(str(name))} {format_number(row[name])}"
            for name in (metric, "loss", "weight")
            if row.get(name)
        ]
        if row.get("tied"):
            words.append("tied with the best")
        if row.get("settings"):
            words.append(clean_text(str(row["settings"]), 200))
        lines.append((f"  {clean_text(str(row.get('model', '?')))}", ", ".join(words)))
    for name, reason in search.get("dropped", {}).items():
        lines.append((f"  {clean_text(name)}", f"dropped: {clean_text(str(reason), 200)}"))
    lines += [("  note", clean_text(line, 600)) for line in search.get("explanation", [])]
    return lines
