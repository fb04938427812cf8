"""The commands that look at finished work, as functions: info, preview, show and report."""

import os
from typing import Any, TypeAlias

from mmfeat.cli.info import describe_contents
from mmfeat.config import make_config
from mmfeat.inspection.config import PreviewConfig, ShowConfig

Path: TypeAlias = str | os.PathLike[str]


def info(path: Path) -> dict[str, Any]:
    """Return what a store contains, JSON-ready, as `mmfeat info --json` prints it.

    Args:
        path: the store, finished or not.
    """
    return describe_contents(os.fspath(path))


def preview(path: Path, **options: Any) -> str:
    """Write one page with records of a store, as `mmfeat preview`.

    Args:
        path: shards, features, predictions, a model, a comparison (its winner) or a ranking.
        options: the fields of `mmfeat.inspection.config.PreviewConfig`.

    Returns:
        The path of the page.
    """
    config = make_config(PreviewConfig, {"path": path, **options}, source="preview")
    from mmfeat.inspection.write_preview import write_preview

    return write_preview(config)


def show(path: Path, key: str, *, shards: Path = "") -> dict[str, Any]:
    """Return everything about one record, JSON-ready, as `mmfeat show --json` prints it.

    Args:
        path: the store, as in `preview`.
        key: key of the record.
        shards: directory of the shards; empty = find it through the receipts of the store.

    Returns:
        `key`, `path` and `kind`; what each store knows under `predictions`, `features`, `shards`.
    """
    given = {"path": path, "key": key, "shards": shards}
    config = make_config(ShowConfig, given, source="show")
    from mmfeat.inspection.describe_record import describe_record

    return describe_record(config)


def report(path: Path, **options: Any) -> str:
    """Write the page about a model or a comparison again, as `mmfeat report`.

    Args:
        path: directory of a finished model or comparison.
        options: `shards`, the directory of the shards, for images and texts of the largest errors;
            `worst`, the number of rows with the largest loss, at most 100.

    Returns:
        The path of the page.
    """
    from training.report.report_command import ReportConfig, write_report

    return write_report(make_config(ReportConfig, {"path": path, **options}, source="report"))
