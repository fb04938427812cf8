"""Writing one feature column of one shard: decode in threads, encode in batches, count each row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mmfeat import storage, store
from mmfeat.alignment import Row
from mmfeat.encoders import Encoder, fingerprint
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.features import OK, Column, Outcome, column_batch, column_schema
from mmfeat.modalities import modality_of
from mmfeat.parallel import ordered_map
from mmfeat.store import Receipt

COLUMN = "column.json"


def claim_column(folder: str, name: str, encoder: Encoder) -> Column:
    """Take a column's folder for one encoder, or go on with it.

    Raises:
        MmfeatError: the column was made by another encoder; says both fingerprints.
    """
    identity = {**encoder.identity(), "dtype": "float16"}
    column = Column(name, encoder.modality, encoder.dim, fingerprint(identity), identity)
    found = storage.read_json(storage.join(folder, COLUMN))
    if found is None:
        storage.write_json(storage.join(folder, COLUMN), vars(column))
    elif found["fingerprint"] != column.fingerprint:
        old = found["encoder"]
        differing = sorted(k for k in {*old, *identity} if old.get(k) != identity.get(k))
        raise MmfeatError(
            f"column {name} in {folder} was made by another encoder "
            f"(fingerprint {found['fingerprint'][:12]} there, {column.fingerprint[:12]} now; "
            f"they differ in {', '.join(differing)})",
            cure="Give the new encoder a column name of its own",
        )
    return column


@dataclass(frozen=True, slots=True)
class _Input:
    value: Any


class ColumnWriter:
    """Encodes the rows of one shard into one column file.

    Use it as a context manager: the file appears when the block ends well. `commit` then writes
    the receipt.
    """

    def __init__(self, folder: str, shard: str, column: Column, encoder: Encoder) -> None:
        self._folder, self._shard = folder, shard
        self._column, self._encoder = column, encoder
        self._file = f"{shard}.arrow"
        self._keys: list[str] = []
        self._rejected: Counter[str] = Counter()
        self._status: Counter[str] = Counter()
        self._bytes_read = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            path = storage.join(self._folder, self._file)
            self._output = stack.enter_context(storage.create(path))
            schema = column_schema(self._column.dim)
            self._arrow = stack.enter_context(pa.ipc.new_file(self._output, schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, rows: Sequence[Row], *, threads: int) -> None:
        """Encode a block of rows and append it."""
        outcomes: list[Outcome] = [OK] * len(rows)
        features = np.zeros((len(rows), self._column.dim), np.float16)
        inputs: dict[int, Any] = {}
        for index, item in enumerate(ordered_map(self._decode, rows, threads=threads)):
            if isinstance(item, Outcome):
                outcomes[index] = item
            else:
                inputs[index] = item.value
        results = encode_each(self._encoder, list(inputs.values()))
        for index, result in zip(inputs, results, strict=True):
            if isinstance(result, RecordError):
                outcomes[index] = Outcome("failed", result.reason, result.detail)
            else:
                features[index] = result
        self._arrow.write_batch(column_batch(features, outcomes))
        self._keys += [row.key for row in rows]
        for outcome in outcomes:
            self._status[outcome.status] += 1
            if outcome is not OK:
                self._rejected[str(outcome.reason)] += 1

    def _decode(self, row: Row) -> _Input | Outcome:
        """The encoder's input, or what became of the record instead."""
        modality = self._encoder.modality
        try:
            if row.problem:
                raise row.problem
            content = _member(row, modality)
            if content is None:
                return Outcome("missing", row.statuses.get(modality, "missing"))
            self._bytes_read += len(content)
            return _Input(self._encoder.decode(content))
        except RecordError as error:
            return Outcome("failed", error.reason, error.detail)
        except Exception as error:
            return Outcome("failed", "encoder_failed", f"{type(error).__name__}: {error}")

    def commit(self, source: Mapping[str, Any], *, seconds: float) -> None:
        """Write the receipt."""
        Receipt(
            shard=self._shard,
            config_hash=self._column.fingerprint,
            records=len(self._keys),
            out=self._status["ok"],
            rejected=dict(self._rejected),
            status=dict(self._status),
            files={self._file: self._output.describe()},
            keys_sha256=store.keys_digest(self._keys),
            source=dict(source),
            bytes_read=self._bytes_read,
            seconds=round(seconds, 3),
        ).write(self._folder)


def encode_each(encoder: Encoder, inputs: Sequence[Any]) -> list[np.ndarray | RecordError]:
    """A float16 feature of each input; where a batch fails it is split until the bad one is alone.

    Args:
        inputs: decoded inputs.

    Returns:
        One vector of shape (dim,), or one error, an input.
    """
    if not inputs:
        return []
    try:
        with np.errstate(over="ignore"):
            features = np.asarray(encoder.encode(inputs)).astype(np.float16)
    except Exception as error:
        if len(inputs) == 1:
            return [RecordError("encoder_failed", f"{type(error).__name__}: {error}")]
        middle = len(inputs) // 2
        return encode_each(encoder, inputs[:middle]) + encode_each(encoder, inputs[middle:])
    if features.shape != (len(inputs), encoder.dim):
        raise MmfeatError(
            f"{type(encoder).__name__}.encode must return shape {(len(inputs), encoder.dim)}",
            got=features.shape,
        )
    unusable = RecordError("not_finite", "NaN or out of the range of float16")
    return [feature if np.isfinite(feature).all() else unusable for feature in features]


def _member(row: Row, modality: str) -> bytes | None:
    if row.sample is None:
        return None
    for extension, problem in row.sample.problems.items():
        if modality_of(extension) == modality:
            raise problem
    for extension, content in row.sample.members.items():
        if modality_of(extension) == modality:
            return content
    return None
