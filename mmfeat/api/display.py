"""Facts as text for a terminal and as HTML for a notebook. Values are data, never markup."""

import html
from collections.abc import Mapping
from typing import Any

_MAX_CHARACTERS = 200


def facts_text(title: str, facts: Mapping[str, Any]) -> str:
    """Return a title and one line per fact."""
    width = max(map(len, facts), default=0)
    lines = [f"  {name:<{width}}  {_format(value)}" for name, value in facts.items()]
    return "\n".join([title, *lines])


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """Return a title and a table with one row per fact."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(_format(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<p><b>{html.escape(title)}</b></p><table>{rows}</table>"


def _format(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"
