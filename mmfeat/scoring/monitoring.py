"""Numbers about the predictions of a shard, in its receipt, and of all shards, in the manifest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from mmfeat.drift import (
    ColumnStatistics,
    DriftCounts,
    DriftDocument,
    DriftReport,
    sample_rows,
)
from mmfeat.features import ColumnShard
from mmfeat.scoring.predicting import ModelOutput, ScoredModel
from mmfeat.storage import Count, check_value
from mmfeat.store import Receipt

CONFIDENCE_BINS = 20
"""Bins of the histogram of confidence, of equal width from 0 to 1."""

MAX_CLASSES = 1000
"""Classes of the histogram in the manifest; the rarer ones are added up as `…`."""

OTHERS = "…"

_BLOCK = 128
"""Rows whose features are held at a time to count them."""


class ModelDocument(TypedDict):
    """Numbers about one model in a receipt."""

    classes: NotRequired[dict[str, Count]]
    confidence: NotRequired[
        Annotated[list[Count], Meta(min_length=CONFIDENCE_BINS, max_length=CONFIDENCE_BINS)]
    ]
    scored: Count


class MonitoringDocument(TypedDict):
    """Numbers of a shard in its receipt."""

    records: Count
    missing: dict[str, Count]
    models: dict[str, ModelDocument]
    drift: dict[str, DriftDocument]


@dataclass
class Monitoring:
    """Numbers about scored records, which add up over shards.

    Attributes:
        records: scored or rejected records.
        missing: feature column → records without a feature.
        models: prefix of a model → its numbers.
        drift: feature column → sampled features, counted.
    """

    records: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    models: dict[str, "ModelCounts"] = field(default_factory=dict)
    drift: dict[str, DriftCounts] = field(default_factory=dict)

    def add_rows(
        self,
        columns: Mapping[str, ColumnShard],
        rows: np.ndarray,
        statistics: Mapping[str, ColumnStatistics],
    ) -> None:
        """Count the features of rows of a shard.

        Args:
            columns: the columns of the shard.
            rows: int64, shape (n,).
            statistics: column → statistics of the training.
        """
        self.records += len(rows)
        sample = sample_rows(rows)
        for name, column in columns.items():
            self.missing[name] += int((~column.present[rows]).sum())
            if name not in statistics:
                continue
            for start in range(0, len(sample), _BLOCK):
                block = sample[start : start + _BLOCK]
                taken = column.take(block, _most_tokens(column, block))
                counts = DriftCounts.of_rows(statistics[name], *taken)
                self.drift.setdefault(name, DriftCounts.empty()).add(counts)

    def add_output(self, model: ScoredModel, output: ModelOutput) -> None:
        """Count the predictions of a model."""
        counts = self.models.setdefault(model.prefix, ModelCounts())
        counts.add(model, output.predictions.scores[output.predictions.scorable])

    def add(self, other: "Monitoring") -> None:
        """Add the numbers of other records."""
        self.records += other.records
        self.missing.update(other.missing)
        for prefix, counts in other.models.items():
            self.models.setdefault(prefix, ModelCounts()).merge(counts)
        for name, drift in other.drift.items():
            self.drift.setdefault(name, DriftCounts.empty()).add(drift)

    def compare(self, statistics: Mapping[str, ColumnStatistics]) -> dict[str, DriftReport]:
        """Return the drift of each column that has statistics and features."""
        reports: dict[str, DriftReport] = {}
        for name, found in statistics.items():
            if name in self.drift and (report := self.drift[name].compare(found)):
                reports[name] = report
        return reports

    def to_document(self) -> dict[str, Any]:
        """Return the numbers for a receipt."""
        return {
            "records": self.records,
            "missing": dict(self.missing),
            "models": {prefix: counts.to_document() for prefix, counts in self.models.items()},
            "drift": {name: counts.to_document() for name, counts in self.drift.items()},
        }

    @classmethod
    def of_receipt(cls, receipt: Receipt) -> "Monitoring":
        """Return the numbers of a receipt; none of a receipt of an earlier version.

        Raises:
            DamagedFileError: they are incomplete or of other types.
        """
        if not receipt.monitoring:
            return cls()
        path = f"the receipt of shard {receipt.shard}"
        checked = check_value(receipt.monitoring, MonitoringDocument, path)
        return cls(
            checked["records"],
            Counter(checked["missing"]),
            {prefix: ModelCounts.from_document(d) for prefix, d in checked["models"].items()},
            {name: DriftCounts.from_document(d) for name, d in checked["drift"].items()},
        )

    def facts(
        self, statistics: Mapping[str, ColumnStatistics], names: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the numbers for the manifest.

        Args:
            statistics: column → statistics of the training.
            names: prefix → name of the model.
        """
        share = {name: round(n / max(self.records, 1), 6) for name, n in self.missing.items()}
        drift = {name: report.facts() for name, report in self.compare(statistics).items()}
        models = {names[prefix]: counts.facts() for prefix, counts in self.models.items()}
        return {"records": self.records, "missing": share, "models": models, "drift": drift}


@dataclass
class ModelCounts:
    """Numbers about the predictions of one model.

    Attributes:
        scored: scored records.
        classes: predicted class or label → records.
        confidence: records in each bin of the highest probability; empty for a regression.
    """

    scored: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, model: ScoredModel, scores: np.ndarray) -> None:
        """Count scores: float32, shape (scored rows, outputs)."""
        task = model.loaded.task
        self.scored += len(scores)
        classes: list[str] = list(task.config.get("classes", []))
        if task.name == "multiclass":
            found = np.bincount(scores.argmax(axis=1), minlength=len(classes))
            best = scores.max(axis=1)
        elif task.name == "multilabel":
            found = (scores >= model.loaded.module.thresholds.numpy()).sum(axis=0)
            best = scores.max(axis=1)
        elif task.name == "align":
            from mmfeat.models.tasks.align import MISALIGNMENT  # imports torch

            classes = ["aligned", "misaligned"]
            misaligned = scores[:, MISALIGNMENT]
            count = int((misaligned > 0.5).sum())
            found = np.array([len(scores) - count, count])
            best = np.maximum(misaligned, 1 - misaligned)
        else:
            return
        self.classes.update({classes[n]: int(found[n]) for n in np.flatnonzero(found)})
        bins = np.minimum((best * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
        histogram = np.bincount(bins, minlength=CONFIDENCE_BINS)
        self.confidence = histogram + (self.confidence if len(self.confidence) else 0)

    def merge(self, other: "ModelCounts") -> None:
        """Add the numbers of other records."""
        self.scored += other.scored
        self.classes.update(other.classes)
        if len(other.confidence):
            self.confidence = other.confidence + (self.confidence if len(self.confidence) else 0)

    def to_document(self) -> dict[str, Any]:
        """Return the numbers for a receipt."""
        document: dict[str, Any] = {"scored": self.scored}
        if self.classes:
            document["classes"] = dict(sorted(self.classes.items()))
        if len(self.confidence):
            document["confidence"] = self.confidence.tolist()
        return document

    @classmethod
    def from_document(cls, document: ModelDocument) -> "ModelCounts":
        """Return the numbers of a receipt."""
        confidence = np.array(document.get("confidence", []), np.int64)
        return cls(document["scored"], Counter(document.get("classes", {})), confidence)

    def facts(self) -> dict[str, Any]:
        """Return the numbers for the manifest; the most frequent classes first."""
        ordered = sorted(self.classes.items(), key=lambda pair: (-pair[1], pair[0]))
        classes = dict(ordered[:MAX_CLASSES])
        if rest := sum(count for _, count in ordered[MAX_CLASSES:]):
            classes[OTHERS] = rest
        facts: dict[str, Any] = {"scored": self.scored}
        if classes:
            facts["classes"] = classes
        if len(self.confidence):
            facts["confidence"] = self.confidence.tolist()
        return facts


def _most_tokens(column: ColumnShard, rows: np.ndarray) -> int:
    """Return the largest number of tokens of rows; 0 for one vector per row."""
    if column.offsets is None:
        return 0
    return int(np.diff(column.offsets)[rows].max(initial=1))
