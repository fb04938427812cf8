"""The stores that are made from features, besides models and predictions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmfeat.api.store import Store, to_pandas, to_polars
from mmfeat.storage import files
from mmfeat.store import iter_parquet, open_recorded, read_parquet

if TYPE_CHECKING:
    import pandas
    import polars


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


class Duplicates(Store):
    """Groups of near-duplicates: the output of `mmfeat dedup`."""

    kind = "duplicates"
    _file = "duplicates.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What was found."""
        totals = self.manifest["totals"]
        facts = {"threshold": self.manifest["config"].get("threshold")}
        return facts | {name: totals[name] for name in ("records", "groups", "grouped", "kept")}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the records of groups, group after group."""
        return iter_parquet(files.join(self.path, self._file))

    def to_arrow(self) -> pa.Table:
        """Read the records of all groups into memory."""
        with open_recorded(self.path, self._file, self.manifest) as file:
            return read_parquet(files.join(self.path, self._file), file=file)

    def to_pandas(self) -> "pandas.DataFrame":
        """Read the records of all groups as a pandas data frame."""
        return to_pandas(self.to_arrow())

    def to_polars(self) -> "polars.DataFrame":
        """Read the records of all groups as a Polars data frame; needs the package polars."""
        return to_polars(self.to_arrow())

    def __len__(self) -> int:
        """Return the number of records in groups."""
        return int(self.manifest["totals"]["grouped"])


class Audit(Store):
    """Suspected records: the output of `mmfeat audit`."""

    kind = "audit"
    _file = "issues.parquet"

    @property
    def facts(self) -> dict[str, Any]:
        """What was found."""
        totals = self.manifest["totals"]
        names = ("records", "judged", "accuracy", "label", "conflict", "outlier")
        return {name: totals[name] for name in names}

    def to_arrow(self) -> pa.Table:
        """Read the listed issues, ranked within each kind."""
        with open_recorded(self.path, self._file, self.manifest) as file:
            return read_parquet(files.join(self.path, self._file), file=file)

    def to_pandas(self) -> "pandas.DataFrame":
        """Read the listed issues as a pandas data frame."""
        return to_pandas(self.to_arrow())

    def to_polars(self) -> "polars.DataFrame":
        """Read the listed issues as a Polars data frame; needs the package polars."""
        return to_polars(self.to_arrow())
