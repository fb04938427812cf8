"""Write the report of a comparison.

config.json, leaderboard.parquet → DIR/report.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NotRequired, TypedDict

from mmfeat.pages import REPORT, clean_text, render_page, write_page
from mmfeat.storage import files, read_intact_document
from mmfeat.store import CONFIG_FILE, MANIFEST_FILE
from training.report.charts.costs import draw_costs
from training.report.comparison import Comparison, read_comparison

_MAX_ROWS = 400


class _Manifest(TypedDict):
    missing: NotRequired[dict[str, list[int]]]


def write_compare_report(
    compare_dir: str, missing: Mapping[str, Sequence[int]] | None = None
) -> str:
    """Write DIR/report.html of a comparison and return its path.

    Args:
        compare_dir: the comparison.
        missing: model → seeds that a time limit has left out; None = as the manifest says.

    Raises:
        MmfeatError: the directory has no leaderboard.
    """
    saved = files.read_json(files.join(compare_dir, CONFIG_FILE)) or {}
    config = saved.get("config", saved)
    if missing is None:
        manifest = read_intact_document(files.join(compare_dir, MANIFEST_FILE), _Manifest)
        missing = manifest.get("missing", {}) if manifest else {}
    comparison = read_comparison(
        compare_dir, str(config.get("metric", "score")), config.get("higher_is_better", True)
    )
    page = render_page(
        "training.report",
        "compare.html",
        script="csv.js sort.js",
        name=clean_text(compare_dir.rstrip("/").rpartition("/")[2], 80),
        config=config,
        comparison=comparison,
        missing=missing,
        rows=comparison.rows[:_MAX_ROWS],
        chart=draw_costs(comparison),
        position=_interval_axis(comparison),
    )
    return write_page(files.join(compare_dir, REPORT), page)


def _interval_axis(comparison: Comparison) -> Callable[[float], float]:
    """Return a function from a metric value to its position on an axis of length 100."""
    values = [
        row[name]
        for row in comparison.rows
        for name in ("low", "mean", "high")
        if row[name] is not None
    ]
    low, width = min(values), (max(values) - min(values)) or 1.0
    return lambda value: round(4 + 92 * (value - low) / width, 2)
