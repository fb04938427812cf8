"""Render a template into one HTML file that needs no other file."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmfeat.pages import text
from mmfeat.storage import files
from mmfeat.version import __version__

REPORT = "report.html"


_OWN = "mmfeat.pages"
"""The package with the style and the base of all pages."""


@cache
def _environment(package: str) -> Environment:
    """Return the environment of the templates of a package and of this one.

    It escapes every value that is not `Markup`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_OWN)]),
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
        "bytes": text.format_bytes,
    }
    environment.filters |= filters
    environment.tests["chosen_by"] = _is_chosen
    return environment


def _is_chosen(candidate: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    """Return whether a candidate became the model: the metrics name the same settings."""
    settings = [name for name in candidate if name not in ("epoch", "loss", metrics.get("metric"))]
    return bool(settings) and all(metrics.get(name) == candidate[name] for name in settings)


def render_page(package: str, template: str, *, script: str = "", **values: Any) -> str:
    """Render a page.

    The page has a content security policy: the browser loads nothing and runs no other script than
    `script`, whatever the data contains.

    Args:
        package: the package whose folder `templates/` has the template.
        template: file name of the template.
        script: file names of the scripts of the page, separated by spaces; empty = none.
        values: variables of the template.
    """
    code = "\n".join(_read_template(package, name) for name in script.split())
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    if code:
        policy += f"; script-src 'sha256-{digest}'"
    return (
        _environment(package)
        .get_template(template)
        .render(
            style=Markup(_read_template(_OWN, "style.css")),  # noqa: S704 - file of this package
            script=Markup(code),  # noqa: S704
            policy=policy,
            version=__version__,
            **values,
        )
    )


def _read_template(package: str, name: str) -> str:
    """Return a file of the folder `templates/` of a package, or of this one."""
    path = resources.files(package).joinpath("templates", name)
    if not path.is_file():
        path = resources.files(_OWN).joinpath("templates", name)
    return path.read_text("utf-8")


def write_page(path: str, page: str) -> str:
    """Write a page atomically and return its path."""
    with files.create(path) as output:
        output.write(page.encode("utf-8", "replace"))
    return path
