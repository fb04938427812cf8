"""From a template and values to one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmfeat import __version__
from mmfeat.store import files
from training.report import text

REPORT = "report.html"


@cache
def _environment() -> Environment:
    """Templates that escape every value which is not marked as made here."""
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "number": text.number,
        "setting": text.setting,
        "compact": text.compact,
        "plain": text.plain,
        "name": text.title,
    }
    environment.filters |= filters
    environment.tests["chosen_by"] = _is_chosen
    return environment


def _is_chosen(candidate: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    """Whether a candidate became the model: its choices are those that the metrics name."""
    tried = [name for name in candidate if name not in ("epoch", "loss", metrics.get("metric"))]
    return bool(tried) and all(metrics.get(name) == candidate[name] for name in tried)


def render(template: str, *, script: str = "", **values: Any) -> str:
    """A page as text.

    The page carries its own policy: a browser that reads it fetches nothing, and runs no other
    script than the one named here, whatever the data may hold.

    Args:
        template: its file in `templates/`.
        script: file of the page's one script; empty = none.
        values: what the template shows.
    """
    code = _source(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    if code:
        policy += f"; script-src 'sha256-{digest}'"
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_source("style.css")),  # noqa: S704 - files of this package
            script=Markup(code),  # noqa: S704
            policy=policy,
            version=__version__,
            **values,
        )
    )


def _source(name: str) -> str:
    return resources.files("training.report").joinpath("templates", name).read_text("utf-8")


def write_page(folder: str, page: str) -> str:
    """Write the page into a folder, whole or not at all; returns its path."""
    path = files.join(folder, REPORT)
    with files.create(path) as output:
        output.write(page.encode("utf-8", "replace"))
    return path
