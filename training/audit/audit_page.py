"""The page of an audit: the first issues of each kind, with thumbnails and texts."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mmfeat.inspection import SourceRecords, open_rows
from mmfeat.pages import REPORT, render_page, write_page
from mmfeat.storage import files
from training.audit.config import AuditConfig
from training.audit.issues import CONFLICT, LABEL, OUTLIER

_SECTIONS = {
    LABEL: (
        "Suspected label errors",
        "Models that were not trained on these records are confident of another label. The score "
        "is the margin: 0 is the most suspicious.",
    ),
    CONFLICT: (
        "Near-duplicates with different labels",
        "Records of one group are nearly equal, but their labels differ. The score is the highest "
        "cosine to another record of the group.",
    ),
    OUTLIER: (
        "Outliers",
        "Records far from their nearest neighbours. The score is the mean cosine distance to them.",
    ),
}


def write_audit_page(config: AuditConfig, table: pa.Table, totals: Mapping[str, Any]) -> str:
    """Write OUTPUT/report.html and return its path."""
    rows = [row for row in table.to_pylist() if row["rank"] <= config.shown]
    keys: dict[str, list[str]] = {}
    for row in rows:
        keys.setdefault(row["shard"], []).append(row["__key__"])
    source = SourceRecords(open_rows(config.features))
    page = render_page(
        "training.audit",
        "audit.html",
        features=config.features,
        target=config.target,
        totals=totals,
        sections=[
            (kind, *texts, [row for row in rows if row["issue"] == kind])
            for kind, texts in _SECTIONS.items()
        ],
        previews=source.read_media(keys, sounds=False),
        problem=source.problem,
    )
    return write_page(files.join(config.output, REPORT), page)
