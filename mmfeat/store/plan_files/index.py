"""The index of a plan: one row per shard, which says where its records are.

OUTPUT/_plan/shards.parquet
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmfeat.errors import DamagedFileError
from mmfeat.storage import Name, check_value, files
from mmfeat.store.directory import PLAN_FOLDER, PLAN_INDEX
from mmfeat.store.integrity import read_checked
from mmfeat.store.parquet import read_parquet
from mmfeat.store.plan_files.blocks import Piece
from mmfeat.store.schemas import RecordedFile

_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("records", pa.int64()),
        ("bytes", pa.int64()),
        ("block", pa.int64()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("xxh3_128", pa.string()),
    ]
)
_PIECE = ("block", "offset", "length", "xxh3_128")
_DIGEST = r"\A[0-9a-f]{32}\z"
_BATCH_ROWS = 4096
_MAX_NUMBER = 1 << 53


class PlannedShard(NamedTuple):
    """A shard of a plan.

    Attributes:
        name: its name.
        records: its records.
        bytes: known bytes of its media.
        piece: where its records are; None in a plan with one file per shard.
    """

    name: str
    records: int
    bytes: int
    piece: Piece | None = None


class PlannedShards:
    """The shards of a plan, in order. A shard takes about a hundred bytes of memory.

    Args:
        table: one row per shard.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[PlannedShard]:
        for batch in self.table.to_batches(_BATCH_ROWS):
            yield from map(_to_shard, *batch.to_pydict().values())

    def __getitem__(self, row: int) -> PlannedShard:
        return _to_shard(*self.table.slice(row, 1).to_pylist()[0].values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlannedShards) and bool(self.table.equals(other.table))

    __hash__ = None  # type: ignore[assignment]

    @property
    def records(self) -> int:
        """Records of all shards."""
        return pc.sum(self.table["records"]).as_py() or 0

    @property
    def bytes(self) -> int:
        """Known bytes of the media of all shards."""
        return pc.sum(self.table["bytes"]).as_py() or 0

    @property
    def next_block(self) -> int:
        """Number of the first block that does not exist."""
        last = pc.max(self.table["block"]).as_py()
        return 0 if last is None else last + 1

    def replace_pieces(self, pieces: Mapping[int, Piece]) -> "PlannedShards":
        """Return the shards with other pieces for some of them: row → piece."""
        if not pieces:
            return self
        return collect_shards(
            shard._replace(piece=pieces.get(row, shard.piece)) for row, shard in enumerate(self)
        )


def _to_shard(name: str, records: int, size: int, *piece: Any) -> PlannedShard:
    return PlannedShard(name, records, size, Piece(*piece) if piece[-1] else None)


def collect_shards(shards: Iterable[PlannedShard]) -> PlannedShards:
    """Return the shards of a plan, whose memory is that of Arrow's columns."""
    batches, rows = [], []
    for name, records, size, piece in shards:
        rows.append((name, records, size, *(piece or (None,) * len(_PIECE))))
        if len(rows) == _BATCH_ROWS:
            batches.append(_to_batch(rows))
            rows = []
    return PlannedShards(pa.Table.from_batches([*batches, _to_batch(rows)], _SCHEMA))


def _to_batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[] for _ in _SCHEMA]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=_SCHEMA)


def write_plan_index(folder: str, shards: PlannedShards) -> RecordedFile:
    """Write the index of a store's plan, and return what its commit mark records of it."""
    with files.create(index_path(folder)) as output:
        pq.write_table(shards.table, output, compression="zstd")
    return output.info()


def read_plan_index(folder: str, info: RecordedFile, number: int) -> PlannedShards:
    """Read the index of a store's plan.

    Args:
        folder: the store.
        info: what the commit mark records of the index.
        number: number of its shards.

    Raises:
        DamagedFileError: it is missing or has other bytes, another schema or impossible values.
    """
    path = index_path(folder)
    file = io.BytesIO(read_checked(path, info))
    table = read_parquet(path, file=file, texts=("name", "xxh3_128"), rows=number)
    if table.schema.remove_metadata() != _SCHEMA:
        raise DamagedFileError(f"{path} must have the columns of an index", cure=files.RESTORE)
    if table.num_rows and any(column.null_count for column in table.columns):
        raise DamagedFileError(f"{path} must have no null", cure=files.RESTORE)
    for name in (field.name for field in _SCHEMA if field.type == pa.int64()):
        least, most = pc.min_max(table[name]).as_py().values() if number else (0, 0)
        if least < 0 or most > _MAX_NUMBER:
            rule = f"{path} must have numbers from 0 to 2^53 in {name}"
            raise DamagedFileError(rule, got=least if least < 0 else most, cure=files.RESTORE)
    if number and not pc.all(pc.match_substring_regex(table["xxh3_128"], _DIGEST)).as_py():
        rule = f"{path} must have digests of 32 hexadecimal digits"
        raise DamagedFileError(rule, cure=files.RESTORE)
    for batch in table.to_batches(_BATCH_ROWS):
        check_value(batch["name"].to_pylist(), list[Name], path)
    if pc.count_distinct(table["name"]).as_py() != number:
        raise DamagedFileError(f"{path} must name each shard once", cure=files.RESTORE)
    return PlannedShards(table)


def index_path(folder: str) -> str:
    """Return the path of the index of a store's plan."""
    return files.join(folder, PLAN_FOLDER, PLAN_INDEX)
