"""Which records are scored: those that meet --where and are listed in --keys."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mmfeat.errors import check_names
from mmfeat.records import Record, read_cells, safe_key
from mmfeat.scoring.config import ScoreConfig

_BLOCK = 1 << 20
"""Keys that are converted at a time."""


class KeySet:
    """The keys of a file, as 16 bytes each: their XXH3-128.

    Args:
        path: the file; see `mmfeat.sharding.read_keys`.
    """

    def __init__(self, path: str) -> None:
        numbers = _read_numbers(path, lambda key: {_hash(key), _hash(safe_key(key))})
        self._high, self._low = np.ascontiguousarray(numbers.T)

    def contains(self, keys: Sequence[str]) -> np.ndarray:
        """Return which keys are in the set: bool, shape (keys,)."""
        numbers = _to_numbers([_hash(key) for key in keys])
        found = np.zeros(len(keys), bool)
        if not len(self._high):
            return found
        place = np.searchsorted(self._high, numbers[:, 0])
        pending = np.arange(len(keys))
        while len(pending):  # once more for keys with an equal first half
            at = place[pending]
            inside = at < len(self._high)
            pending, at = pending[inside], at[inside]
            same = self._high[at] == numbers[pending, 0]
            pending, at = pending[same], at[same]
            found[pending] |= self._low[at] == numbers[pending, 1]
            pending = pending[~found[pending]]
            place[pending] += 1
        return found


def count_keys(path: str) -> int:
    """Return how many records a file of keys names: a key that is there twice counts once."""
    numbers = _read_numbers(path, lambda key: {_hash(safe_key(key))})
    return len(numbers) and 1 + int((numbers[1:] != numbers[:-1]).any(axis=1).sum())


def _read_numbers(path: str, digests: Callable[[str], set[bytes]]) -> np.ndarray:
    """Return the digests of keys, sorted: uint64, shape (digests, 2)."""
    from mmfeat.sharding import read_keys  # late: few runs need it

    blocks: list[np.ndarray] = []
    block: list[bytes] = []
    for key in read_keys(path):
        block += digests(key)
        if len(block) >= _BLOCK:
            blocks.append(_to_numbers(block))
            block = []
    blocks.append(_to_numbers(block))
    numbers = np.concatenate(blocks)
    return numbers[np.lexsort((numbers[:, 1], numbers[:, 0]))]


def _hash(key: str) -> bytes:
    return xxhash.xxh3_128_digest(key.encode("utf-8", "surrogatepass"))


def _to_numbers(digests: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


class RowSelection:
    """Selects rows of a samples table. Made in each worker process, where the keys are read once.

    Args:
        where: condition on the columns of the samples table; empty = all rows.
        keys: file of keys; empty = all rows.
    """

    def __init__(self, where: str, keys: str) -> None:
        from mmfeat.sharding import Condition

        self._condition = Condition(where) if where else None
        self._names = sorted(column_names(where)) if where else []
        self._keys = KeySet(keys) if keys else None

    @property
    def columns(self) -> list[str]:
        """Columns of the samples table that the condition reads."""
        return [name for name in self._names if name != "key"]

    def __call__(self, samples: pa.Table) -> np.ndarray:
        """Return which rows are selected: bool, shape (rows,)."""
        selected = np.ones(len(samples), bool)
        keys = samples["__key__"].to_pylist()
        if self._keys:
            selected &= self._keys.contains(keys)
        if self._condition:
            names = [name for name in self.columns if name in samples.column_names]
            cells: list[list[Any]] = [read_cells(samples, name) for name in names]
            for row in np.flatnonzero(selected):
                metadata = {name: values[row] for name, values in zip(names, cells, strict=True)}
                selected[row] = self._condition(Record(int(row), keys[row], metadata=metadata))
        return selected


def column_names(where: str) -> set[str]:
    """Return the names of columns in a valid condition, `key` included."""
    nodes = [*ast.walk(ast.parse(where.strip(), mode="eval"))]
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    return {node.id for node in names if id(node) not in functions}


def describe_selection(config: ScoreConfig, schema: pa.Schema) -> dict[str, Any]:
    """Return what of the selection determines the predictions; empty if all rows are scored.

    Raises:
        MmfeatError: --where names a column that the samples table lacks, or there is no file of
            keys.
    """
    from mmfeat.sharding import Condition, key_file_sha256

    settings: dict[str, Any] = {}
    if config.where:
        Condition(config.where)
        names = sorted(column_names(config.where) - {"key"})
        check_names(names, schema.names, "--where must use columns of the samples table")
        settings["where"] = config.where
    if config.keys:
        settings["keys_sha256"] = key_file_sha256(config.keys)
    return settings
