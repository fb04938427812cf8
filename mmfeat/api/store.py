"""A finished store as an object: its rows as tables, batches, or single records."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mmfeat.api.display import facts_html, facts_text
from mmfeat.api.record import Record
from mmfeat.errors import MmfeatError, did_you_mean
from mmfeat.storage import files
from mmfeat.store import iter_parquet, open_recorded, read_manifest, read_parquet

if TYPE_CHECKING:
    import pandas
    import polars


class Store(ABC):
    """A finished store of any kind.

    Args:
        path: the directory.

    Raises:
        MmfeatError: the directory has no finished store of the kind.
    """

    kind: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.manifest: dict[str, Any] = read_manifest(self.path, self.kind)

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the store contains, name → value, for people."""

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return facts_text(f"mmfeat {self.kind}, {self.path}", self.facts)

    def _repr_html_(self) -> str:
        return facts_html(f"mmfeat {self.kind}, {self.path}", self.facts)


class TableStore(Store):
    """A store of rows, one per record. Rows that a retry has replaced are left out."""

    @property
    def shards(self) -> list[str]:
        """Names of the shards, in order."""
        return [shard["name"] for shard in self.manifest["shards"]]

    def __len__(self) -> int:
        return int(self.manifest["totals"]["records"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the store contains."""
        totals = self.manifest["totals"]
        rejected = totals["records"] - totals["out"]
        return {"records": totals["records"], "out": totals["out"], "rejected": rejected} | {
            f"  {reason}": count for reason, count in totals["rejected"].items()
        }

    @property
    @abstractmethod
    def column_names(self) -> list[str]:
        """Names of the columns of `to_arrow`."""

    @abstractmethod
    def read_shard(self, shard: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of a shard: all columns, or the named ones.

        Raises:
            DamagedFileError: a file of the shard is damaged.
        """

    @abstractmethod
    def read_records(self, shard: str) -> Iterator[Record]:
        """Yield the records of a shard, in the order of `read_shard`."""

    def batches(
        self, columns: Sequence[str] | None = None, *, rows: int = 4096
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches. At most one shard is in memory.

        Args:
            columns: names of columns; None = all.
            rows: maximum number of rows in a batch.
        """
        for shard in self.shards:
            yield from self.read_shard(shard, self._check(columns)).to_batches(rows)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows into memory as an Arrow table.

        Args:
            columns: names of columns; None = all.
        """
        names = self._check(columns)
        tables = [self.read_shard(shard, names) for shard in self.shards]
        return pa.concat_tables(tables, promote_options="permissive")

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Read all rows into memory as a pandas data frame; arguments as for `to_arrow`."""
        return to_pandas(self.to_arrow(columns))

    def to_polars(self, columns: Sequence[str] | None = None) -> "polars.DataFrame":
        """Read all rows into memory as a Polars data frame; arguments as for `to_arrow`."""
        return to_polars(self.to_arrow(columns))

    def _check(self, columns: Sequence[str] | None) -> list[str] | None:
        """Check that the store has the columns."""
        if columns is None:
            return None
        if isinstance(columns, str):
            raise MmfeatError("columns must be a list of names", got=columns, cure=f"[{columns!r}]")
        for name in columns:
            if name not in self.column_names:
                raise MmfeatError(
                    f"{self.path} has the columns {', '.join(self.column_names)}",
                    got=name,
                    cure=did_you_mean(name, self.column_names),
                )
        return list(columns)

    def __iter__(self) -> Iterator[Record]:
        for shard in self.shards:
            yield from self.read_records(shard)

    def __getitem__(self, key: str) -> Record:
        """Return the record of a key. The keys of the shards are read until it is found.

        Raises:
            KeyError: no record has the key.
        """
        for shard in self.shards:
            row = pc.index(self.read_shard(shard, ["__key__"])["__key__"], key).as_py()
            if row >= 0:
                return next(islice(self.read_records(shard), row, None))
        raise KeyError(f"{self.path} has no record with the key {key!r}")

    def __contains__(self, key: object) -> bool:
        try:
            return isinstance(key, str) and bool(self[key])
        except KeyError:
            return False


class TableFileStore(Store):
    """A store with one table, whose file is in its manifest."""

    _file: ClassVar[str]

    def to_arrow(self) -> pa.Table:
        """Read the table into memory as an Arrow table.

        Raises:
            DamagedFileError: the file is damaged.
        """
        with open_recorded(self.path, self._file, self.manifest) as file:
            return read_parquet(files.join(self.path, self._file), file=file)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the table in batches; errors as in `to_arrow`."""
        with open_recorded(self.path, self._file, self.manifest) as file:
            yield from iter_parquet(files.join(self.path, self._file), file=file)

    def to_pandas(self) -> "pandas.DataFrame":
        """Read the table as a pandas data frame."""
        return to_pandas(self.to_arrow())

    def to_polars(self) -> "polars.DataFrame":
        """Read the table as a Polars data frame; needs the package polars."""
        return to_polars(self.to_arrow())


def to_pandas(table: pa.Table) -> "pandas.DataFrame":
    """Return an Arrow table as a pandas data frame.

    Raises:
        MmfeatError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401 - Arrow needs it
    except ImportError as error:
        raise MmfeatError("to_pandas needs pandas", cure="pip install pandas") from error
    return table.to_pandas()


def to_polars(table: pa.Table) -> "polars.DataFrame":
    """Return an Arrow table as a Polars data frame.

    Raises:
        MmfeatError: polars is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MmfeatError("to_polars needs polars", cure="pip install polars") from error
    return polars.DataFrame(polars.from_arrow(table))
