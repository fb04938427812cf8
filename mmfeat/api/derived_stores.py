"""The stores that are made from features, besides models and predictions."""

from typing import Any

from mmfeat.api.store import Store


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
