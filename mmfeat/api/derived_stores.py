"""The stores that are made from features, besides models and predictions."""

from typing import Any

from mmfeat.api.store import Store, TableFileStore


class Export(Store):
    """Files for other tools: the output of `mmfeat export`."""

    kind = "export"

    @property
    def facts(self) -> dict[str, Any]:
        """What was exported."""
        totals = self.manifest["totals"]
        facts = {"format": self.manifest["config"].get("format"), "records": totals["records"]}
        return facts | {"exported": totals["out"]}

    @property
    def files(self) -> list[str]:
        """Names of the files in the directory, without the documents of mmfeat."""
        return list(self.manifest["files"])


class Duplicates(TableFileStore):
    """Groups of near-duplicates: the output of `mmfeat dedup`. Its table has the records of groups,
    group after group."""

    kind = "duplicates"
    _file = "duplicates.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What was found."""
        totals = self.manifest["totals"]
        facts = {"threshold": self.manifest["config"].get("threshold")}
        return facts | {name: totals[name] for name in ("records", "groups", "grouped", "kept")}

    def __len__(self) -> int:
        """Return the number of records in groups."""
        return int(self.manifest["totals"]["grouped"])


class Audit(TableFileStore):
    """Suspected records: the output of `mmfeat audit`. Its table has the listed issues, ranked
    within each kind."""

    kind = "audit"
    _file = "issues.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What was found."""
        totals = self.manifest["totals"]
        names = ("records", "judged", "accuracy", "label", "conflict", "outlier")
        return {name: totals[name] for name in names}
