"""The page of a store of predictions: drift, missing features, classes and confidence."""

from collections.abc import Mapping
from typing import Any

from mmfeat.drift import MIN_ROWS
from mmfeat.pages import REPORT, render_page, write_page
from mmfeat.storage import files

__all__ = ["REPORT", "write_report"]

_SHOWN_CLASSES = 50
_SHOWN_REASONS = 50


def write_report(store: str, manifest: Mapping[str, Any]) -> str:
    """Write report.html from the manifest of predictions, and return its path.

    The page does not name the store: equal predictions have equal files wherever they are.

    Args:
        store: the store.
        manifest: its manifest, with models, input, versions and monitoring.
    """
    monitoring, totals = manifest["monitoring"], manifest["totals"]
    reasons = totals["problems"] or totals["rejected"]
    frequent = sorted(reasons.items(), key=lambda pair: -pair[1])[:_SHOWN_REASONS]
    page = render_page(
        "mmfeat.scoring",
        "predictions.html",
        totals=totals,
        reasons=dict(frequent),
        input=manifest["input"],
        selection=manifest.get("selection"),
        drift=monitoring["drift"],
        enough=MIN_ROWS,
        missing=monitoring["missing"],
        models=monitoring["models"],
        made_by=manifest["models"],
        versions=manifest["versions"],
        shown=_SHOWN_CLASSES,
    )
    return write_page(files.join(store, REPORT), page)
