"""Render a template into one HTML file that needs no other file."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmfeat import __version__
from mmfeat.storage import files
from training.report import text

REPORT = "report.html"


@cache
def _environment() -> Environment:
    """Return the template environment. It escapes every value that is not `Markup`."""
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "clean": text.clean_text,
        "number": text.format_number,
        "setting": text.format_setting,
        "compact": text.format_compact,
        "name": text.display_name,
    }
    environment.filters |= filters
    environment.tests["chosen_by"] = _is_chosen
    return environment


def _is_chosen(candidate: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    """Return whether a candidate became the model: the metrics name the same settings."""
    settings = [name for name in candidate if name not in ("epoch", "loss", metrics.get("metric"))]
    return bool(settings) and all(metrics.get(name) == candidate[name] for name in settings)


def render_page(template: str, *, script: str = "", **values: Any) -> str:
    """Render a page.

    The page has a content security policy: the browser loads nothing and runs no other script than
    `script`, whatever the data contains.

    Args:
        template: file name in `templates/`.
        script: file name of the page's only script; empty = none.
        values: variables of the template.
    """
    code = _read_template(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    if code:
        policy += f"; script-src 'sha256-{digest}'"
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_read_template("style.css")),  # noqa: S704 - file of this package
            script=Markup(code),  # noqa: S704
            policy=policy,
            version=__version__,
            **values,
        )
    )


def _read_template(name: str) -> str:
    return resources.files("training.report").joinpath("templates", name).read_text("utf-8")


def write_page(folder: str, page: str) -> str:
    """Write report.html atomically into a folder and return its path."""
    path = files.join(folder, REPORT)
    with files.create(path) as output:
        output.write(page.encode("utf-8", "replace"))
    return path
