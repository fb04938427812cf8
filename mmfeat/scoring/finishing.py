"""Finish a store of predictions: count its records, write the report and the manifest."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmfeat.drift import MIN_ROWS, ColumnStatistics
from mmfeat.errors import MmfeatError
from mmfeat.prediction_files import data_folder, predictions_folder
from mmfeat.scoring.config import ScoreConfig
from mmfeat.scoring.inputs import ScoringInput
from mmfeat.scoring.monitoring import Monitoring
from mmfeat.scoring.predicting import ScoredModels
from mmfeat.scoring.report_page import REPORT, write_report
from mmfeat.scoring.rows import count_keys
from mmfeat.storage import files
from mmfeat.store import (
    Receipt,
    format_counts,
    list_receipts,
    make_manifest,
    require_receipts,
    withdraw_run,
    write_manifest,
)

_PACKAGES = ("torch", "numpy", "pyarrow")


@dataclass(frozen=True)
class FinishedPredictions:
    """The predictions of a run, after all shards are made.

    Attributes:
        config: options.
        source: the input.
        expected_files: as for `require_receipts`.
    """

    config: ScoreConfig
    source: ScoringInput
    expected_files: Sequence[str]

    def write_manifest(self, config_hash: str, shards: Sequence[str]) -> dict[str, Any]:
        """Check the counts of all shards, then write the report and the manifest.

        Args:
            config_hash: configuration of the store.
            shards: names of all shards.

        Raises:
            MmfeatError: shards are missing, no record can be scored, or a column drifts more than
                --max-drift.
        """
        output, monitoring, left_out = self.config.output, Monitoring(), 0

        def describe(receipt: Receipt) -> dict[str, Any]:
            nonlocal left_out
            monitoring.add(Monitoring.of_receipt(receipt))
            left_out += receipt.source.get("left_out", 0)
            keys = {"keys_sha256": receipt.keys_sha256}
            return {"name": receipt.shard, "records": receipt.records, **keys}

        receipts = require_receipts(output, shards, expected_files=self.expected_files)
        totals, entries = list_receipts(receipts, describe)
        if left_out and not totals["records"]:
            withdraw_run(output, shards)
            raise MmfeatError(
                f"--where and --keys must select a record of {self.config.input}",
                got=f"none of {left_out:,}",
                cure="Look at the values with: mmfeat info",
            )
        if not totals["out"]:
            raise MmfeatError(
                f"none of the {totals['records']} records of {self.config.input} can be scored "
                f"({format_counts(totals['rejected'])})",
            )
        models = ScoredModels.load(self.config.models)
        check_drift(monitoring, models.statistics, self.config.max_drift)
        names = {model.prefix: model.facts()["name"] for model in models.models}
        facts: dict[str, Any] = {
            "models": [model.facts() for model in models.models],
            "input": {
                "path": self.config.input,
                "kind": self.source.kind,
                "hash": self.source.config_hash,
            },
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "monitoring": monitoring.facts(models.statistics, names),
        }
        unknown = 0
        if self.config.keys and not self.config.where:  # else a record may be left out by both
            unknown = max(0, count_keys(self.config.keys) - totals["records"])
        if left_out or unknown:
            facts["selection"] = {"records": totals["records"] + left_out, "left_out": left_out}
        if unknown:
            facts["selection"]["unknown_keys"] = unknown
        entries_of_manifest = {"shards": entries, "totals": totals, **facts}
        manifest = make_manifest(output, "predictions", config_hash, **entries_of_manifest)
        if data_folder(output):  # a store of format 1 has its rows where the report would be
            write_report(output, manifest)
        return write_manifest(output, "predictions", config_hash, **entries_of_manifest)


def check_drift(
    monitoring: Monitoring,
    statistics: Mapping[str, ColumnStatistics],
    limit: float | None,
    error: type[MmfeatError] = MmfeatError,
) -> None:
    """Check that no feature column has drifted further than a limit.

    Args:
        monitoring: numbers about the records.
        statistics: column → statistics of the training.
        limit: largest population stability index; None = any.
        error: the error to raise.

    Raises:
        MmfeatError: a column has.
    """
    for name, report in monitoring.compare(statistics).items():
        if limit is not None and report.exceeds(limit):
            raise error(
                f"the population stability index of the column {name} must be at most {limit:g} "
                "(--max-drift)",
                got=f"{report.psi:.3f} over {report.rows:,} sampled records; mean cosine to the "
                f"training {report.cosine:.3f}, there {report.training_cosine:.3f}",
                cure="Shards that are scored are kept. Find out what differs, or run the same "
                "command with a larger --max-drift",
            )


def summarize(manifest: Mapping[str, Any], output: str) -> dict[str, Any]:
    """Return lines of the closing summary: drift, and the folder to open in other tools."""
    facts: dict[str, Any] = {}
    if selection := manifest.get("selection"):
        facts["not selected"] = selection["left_out"]
        if unknown := selection.get("unknown_keys"):
            facts["keys that no record has"] = unknown
    drifts = manifest.get("monitoring", {}).get("drift", {})
    for name, drift in drifts.items():
        facts[f"drift of {name}"] = (
            f"stability index {drift['psi']:.3f}, cosine to the training {drift['cosine']:.3f} "
            f"({drift['training_cosine']:.3f} there)"
        )
    few = [f"{name} {drift['rows']}" for name, drift in drifts.items() if drift["rows"] < MIN_ROWS]
    if few:
        facts["drift not judged"] = (
            f"too few sampled records ({', '.join(few)}); --max-drift needs {MIN_ROWS}"
        )
    facts["predictions (Parquet)"] = predictions_folder(output)
    if data_folder(output):
        facts["report"] = files.join(output, REPORT)
    return facts
