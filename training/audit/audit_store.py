"""Audit a feature store: label errors, conflicts between near-duplicates, outliers.

OUTPUT/issues.parquet    one row per issue, ranked within each kind
OUTPUT/report.html       the first of them with thumbnails
"""

import os
from collections import Counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from mmfeat.config import split_commas
from mmfeat.deduplication import Groups, VectorRows, find_groups
from mmfeat.features import FeatureStore
from mmfeat.pages import REPORT
from mmfeat.storage import files, lock_directory
from mmfeat.store import (
    check_output,
    finished_manifest,
    json_digest,
    match_run,
    open_run,
    record_file,
    write_manifest,
)
from mmfeat.system import print_out, scratch_folder, show_summary
from training.audit.audit_page import write_audit_page
from training.audit.config import AuditConfig
from training.audit.conflicts import find_conflicts
from training.audit.issues import CONFLICT, KINDS, LABEL, OUTLIER, Issue, make_table
from training.audit.label_errors import find_label_errors
from training.audit.out_of_fold import load_labels, predict_out_of_fold
from training.audit.outliers import find_outliers, score_outliers
from training.columns import check_sample_columns, choose_columns
from training.data import Dataset
from training.objectives.multiclass import MulticlassObjective

KIND = "audit"
ISSUES_FILE = "issues.parquet"


def audit_store(config: AuditConfig) -> dict[str, Any]:
    """Find the issues, write them and return the manifest. A finished audit is kept.

    Raises:
        MmfeatError: the features lack a column, the target cannot be learned, or the output has
            another audit.
        DamagedFileError: a file of the features is damaged.
    """
    check_output(config.output, KIND)
    torch.set_num_threads(config.threads)
    store = FeatureStore(config.features)
    columns = choose_columns(store, config.modalities)
    check_sample_columns(store, [config.target], {})
    settings = {
        "features": store.manifest["config_hash"],
        "shards": json_digest(store.manifest["shards"]),
        "columns": {column.name: column.fingerprint for column in columns},
        "target": config.target,
        "null_labels": split_commas(config.null_labels),
        **{name: getattr(config, name) for name in ("folds", "threshold", "most", "seed", "shown")},
    }
    with lock_directory(config.output):
        manifest = finished_manifest(config.output, match_run(config.output, KIND, settings))
        if manifest:
            print_out(f"{config.output} already holds this audit; nothing to do")
        else:
            objective = MulticlassObjective(config.target)
            objective.null_labels = split_commas(config.null_labels)
            dataset, rows = load_labels(store, columns, objective)
            with scratch_folder() as folder:
                issues, facts = _find_issues(config, store, dataset, rows, folder)
            manifest = _write(config, store, issues, facts, settings)
    totals = manifest["totals"]
    show_summary(
        "audit",
        {
            "records": totals["records"],
            "records with a label": totals["judged"],
            "out-of-fold accuracy": totals["accuracy"],
            "suspected label errors": totals[LABEL],
            "near-duplicates with different labels": totals[CONFLICT],
            "outliers": totals[OUTLIER],
            "list": files.join(config.output, ISSUES_FILE),
            "page": files.join(config.output, REPORT),
        },
    )
    return manifest


def _find_issues(
    config: AuditConfig, store: FeatureStore, dataset: Dataset, rows: np.ndarray, folder: str
) -> tuple[list[Issue], dict[str, Any]]:
    """Return the listed issues, and the totals."""
    objective = dataset.objective
    assert isinstance(objective, MulticlassObjective)
    labels, classes = dataset.targets[rows], objective.classes
    pooled = [column.name for column in dataset.features.columns if not column.max_tokens]
    left_out: Counter[str] = Counter()
    groups: Groups | None = None
    if pooled:
        groups = find_groups(VectorRows(store, pooled), config.threshold, folder, left_out)
    roots = rows if groups is None else groups.roots(rows)
    shape = (len(rows), len(classes))
    path = os.path.join(folder, "probabilities")
    probabilities = np.memmap(path, np.float32, "w+", shape=shape)
    predict_out_of_fold(dataset, rows, roots, config.folds, probabilities)

    errors = find_label_errors(labels, probabilities)
    issues = [
        Issue(
            LABEL,
            int(rows[row]),
            classes[labels[row]],
            classes[suggested],
            float(margin),
            p_label=float(own),
            p_suggested=float(other),
        )
        for row, suggested, margin, own, other in zip(
            *(values[: config.most] for values in errors), strict=True
        )
    ]
    totals: dict[str, Any] = {LABEL: len(errors.rows), CONFLICT: 0, OUTLIER: 0}
    if groups is not None:
        conflicts, totals[CONFLICT] = find_conflicts(groups, rows, labels, config.most)
        issues += [
            Issue(CONFLICT, c.row, classes[c.label], classes[c.majority], c.score, root=c.root)
            for c in conflicts
        ]
        vectors = VectorRows(store, pooled)
        count = store.records - _count_left_out(store, left_out)
        outlier_rows, scores = score_outliers(vectors, count, config.seed)
        outliers = find_outliers(scores)
        totals[OUTLIER] = len(outliers)
        for place in outliers[: config.most].tolist():
            row = int(outlier_rows[place])
            label = classes[labels[np.searchsorted(rows, row)]] if row in rows else None
            issues.append(Issue(OUTLIER, row, label, None, float(scores[place])))
    hits = sum(
        int((probabilities[s : s + 8192].argmax(axis=1) == labels[s : s + 8192]).sum())
        for s in range(0, len(rows), 8192)
    )
    totals |= {"records": store.manifest["totals"]["records"], "judged": len(rows)}
    totals |= {"accuracy": hits / len(rows), "left_out": dict(dataset.left_out)}
    return issues, totals


def _count_left_out(store: FeatureStore, left_out: Counter[str]) -> int:
    """Return the rows that cannot be compared: those left out, and those a retry has replaced."""
    return left_out.total() + store.records - store.manifest["totals"]["records"]


def _write(
    config: AuditConfig,
    store: FeatureStore,
    issues: list[Issue],
    totals: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    table = make_table(store, issues)
    config_hash = open_run(config.output, KIND, settings)
    with files.create(files.join(config.output, ISSUES_FILE)) as output:
        pq.write_table(table, output, compression="zstd")
    path = write_audit_page(config, table, totals)
    listed = {kind: sum(issue.kind == kind for issue in issues) for kind in KINDS}
    return write_manifest(
        config.output,
        KIND,
        config_hash,
        files={ISSUES_FILE: output.info(), REPORT: record_file(path)},
        totals={**totals, "listed": listed},
    )
