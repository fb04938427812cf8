"""Search a feature store."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmfeat.config import choose_names
from mmfeat.features import FeatureStore
from mmfeat.pages import clean_text
from mmfeat.records import free_columns
from mmfeat.retrieval.column_index import ColumnIndex, DamagedIndexError, has_faiss
from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.query import Query, make_query
from mmfeat.retrieval.top_rows import TopRows, search_exactly
from mmfeat.system import install_command, print_err

if TYPE_CHECKING:
    import pandas

_CANDIDATES, _MIN_CANDIDATES = 10, 100
"""Candidates of an index for each result, and at least; they are compared exactly."""

_MAX_LINES = 10
"""Records in the text of a result."""

_CANNOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, repr=False)
class SearchResult:
    """The records that a search found, nearest first.

    Attributes:
        table: `rank` from 1, `score` (the cosine), `__key__`, `shard`, and the columns of
            --columns.
        title: what was searched for.
        column: the column that was searched.
        exact: whether all vectors were compared.
    """

    table: pa.Table
    title: str
    column: str
    exact: bool

    @property
    def keys(self) -> list[str]:
        """The keys, nearest first."""
        keys: list[str] = self.table["__key__"].to_pylist()
        return keys

    def to_arrow(self) -> pa.Table:
        """Return the table."""
        return self.table

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a pandas data frame; needs the package pandas."""
        return self.table.to_pandas()

    def __len__(self) -> int:
        """Return the number of records found."""
        return len(self.keys)

    def __repr__(self) -> str:
        """Return the title and the nearest records, one per line."""
        how = "exact" if self.exact else "by an index"
        lines = [f"{self.title}: {len(self):,} records by {self.column}, {how}"]
        scores = self.table["score"].to_pylist()
        pairs = list(zip(self.keys, scores, strict=True))
        lines += [f"  {score:.3f}  {clean_text(key, 80)}" for key, score in pairs[:_MAX_LINES]]
        if len(pairs) > _MAX_LINES:
            lines.append(f"  … {len(pairs) - _MAX_LINES:,} more")
        return "\n".join(lines)


def search(config: SearchConfig) -> SearchResult:
    """Find the records that are nearest to the query.

    Raises:
        MmfeatError: as in `make_query`; or the samples table lacks a column of --columns.
        DamagedFileError: a file of the features is damaged.
    """
    store = FeatureStore(config.features)
    columns = _choose_columns(store, config.columns)
    query = make_query(config, store)
    count = config.count + bool(query.exclude)
    rows = _try_index(query, count, config.index_memory) if _use_index(config, query) else None
    exact = rows is None
    if rows is None:
        rows = search_exactly(query.searched, query.vector, count)
    table = _make_table(store, rows, columns)
    if query.exclude:
        others = [key != query.exclude for key in table["__key__"].to_pylist()]
        table = table.filter(pa.array(others, pa.bool_()))
    table = table.slice(0, config.count)
    ranks = pa.array(range(1, len(table) + 1), pa.int64())
    table = table.add_column(0, "rank", ranks)
    return SearchResult(table, query.title, query.searched.column.name, exact)


def _use_index(config: SearchConfig, query: Query) -> bool:
    """Return whether to use an index: the column is large and compared as it is stored."""
    if query.searched.records < config.exact_below or query.searched.project:
        return False
    if not has_faiss():
        print_err(
            f"mmfeat: note: all {query.searched.records:,} vectors are compared; an index is "
            f"faster, and needs FAISS: {install_command('faiss-cpu')}"
        )
        return False
    return True


def _try_index(query: Query, count: int, memory_mb: int) -> list[tuple[float, str, int]] | None:
    """Return what `_search_index` finds; None if all vectors must be compared instead."""
    try:
        rows = _search_index(query, count, memory_mb)
    except DamagedIndexError as error:
        print_err(f"mmfeat: warning: {error.rule}, so all vectors are compared. Remove it")
        return None
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        print_err(
            "mmfeat: note: all vectors are compared, since no index can be written beside the "
            f"features: {error.strerror}"
        )
        return None
    return rows if len(rows) == min(count, query.searched.records) else None


def _search_index(query: Query, count: int, memory_mb: int) -> list[tuple[float, str, int]]:
    """Return the candidates of the index, compared exactly."""
    store = query.searched.store
    wanted = max(_CANDIDATES * count, _MIN_CANDIDATES)
    candidates = np.sort(ColumnIndex(query.searched, memory_mb).search(query.vector, wanted))
    names = list(store.shards)
    starts = np.array([0, *accumulate(store.shards.values())])
    shards = np.searchsorted(starts, candidates, "right") - 1
    top = TopRows(count)
    for number in np.unique(shards).tolist():
        rows = (candidates[shards == number] - starts[number]).astype(np.int64)
        top.add(query.searched.read(names[number], rows), query.vector)
    return top.rows


def _choose_columns(store: FeatureStore, flags: Sequence[str]) -> list[str]:
    rule = f"the samples table of {store.path} has no column of that name (--columns)"
    names = choose_names(flags, store.samples_schema.names, rule)
    return [name for name in names if name != "__key__"]


def _make_table(
    store: FeatureStore, rows: Sequence[tuple[float, str, int]], columns: Sequence[str]
) -> pa.Table:
    """Return score, key, shard and columns of the rows, in their order."""
    by_shard: dict[str, list[int]] = {}
    for place, (_, shard, _) in enumerate(rows):
        by_shard.setdefault(shard, []).append(place)
    values: list[dict[str, Any]] = [{} for _ in rows]
    for shard, places in by_shard.items():
        samples = store.read_samples(shard, ["__key__", *columns])
        found = samples.take(pa.array([rows[place][2] for place in places])).to_pylist()
        for place, row in zip(places, found, strict=True):
            values[place] = row
    schema = store.samples_schema
    own = ("rank", "score", "__key__", "shard")
    names = free_columns(columns, own)
    arrays: dict[str, Any] = {
        "score": pa.array([score for score, _, _ in rows], pa.float32()),
        "__key__": pa.array([row["__key__"] for row in values], pa.string()),
        "shard": pa.array([shard for _, shard, _ in rows], pa.string()),
    }
    for name, shown in names.items():
        arrays[shown] = pa.array([row[name] for row in values], schema.field(name).type)
    return pa.table(arrays)
