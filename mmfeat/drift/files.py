"""The statistics of a model on disk: `statistics.safetensors`, one group of tensors per column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy

from mmfeat.drift.column_statistics import BINS, DIRECTIONS, ColumnStatistics
from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.store import MANIFEST_FILE, RecordedFile, open_checked

STATISTICS = "statistics.safetensors"

_OTHER_BYTES = 1 << 13
"""Bytes of a column besides its mean: bins, and names of tensors."""

_CURE = "Copy the model again, or remove its directory and train again"


def save_statistics(
    folder: str, columns: Sequence[str], statistics: Mapping[str, ColumnStatistics]
) -> RecordedFile:
    """Write the statistics of a model's columns and return size and digests of the file.

    Args:
        folder: the model.
        columns: the columns in the model's order; tensors are named after their positions.
        statistics: column → statistics; a column without features has none.
    """
    tensors: dict[str, np.ndarray] = {}
    for number, name in enumerate(columns):
        if found := statistics.get(name):
            numbers = np.array([found.cosine, found.rows, found.present], np.float64)
            tensors |= {
                f"{number}.mean": found.mean,
                f"{number}.edges": np.ascontiguousarray(found.edges),
                f"{number}.counts": found.counts,
                f"{number}.numbers": numbers,
            }
    with files.create(files.join(folder, STATISTICS)) as output:
        output.write(safetensors.numpy.save(tensors))
    return output.info()


def read_statistics(
    folder: str, manifest: Mapping[str, Any], dims: Mapping[str, int]
) -> dict[str, ColumnStatistics]:
    """Read the statistics of a model: column → statistics; empty for older models.

    Args:
        folder: the model.
        manifest: its manifest, checked.
        dims: column → length of a vector, in the model's order.

    Raises:
        DamagedFileError: the file is damaged, or not one of these columns.
    """
    info = manifest["files"].get(STATISTICS)
    if info is None:
        return {}
    path, limit = files.join(folder, STATISTICS), sum(4 * d + _OTHER_BYTES for d in dims.values())
    if info["bytes"] > limit:
        document = files.join(folder, MANIFEST_FILE)
        raise DamagedFileError(
            f"{document} must list {STATISTICS} with at most {limit:,} bytes",
            got=info["bytes"],
            cure=_CURE,
        )
    with open_checked(path, info) as file:
        data = file.read(limit)
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        rule = f"{path} must be a safetensors file"
        raise DamagedFileError(rule, got=str(error), cure=_CURE) from error
    found = {}
    for number, (name, dim) in enumerate(dims.items()):
        if f"{number}.mean" in tensors:
            found[name] = _parse(tensors, number, dim, path)
    return found


def _parse(tensors: Mapping[str, np.ndarray], number: int, dim: int, path: str) -> ColumnStatistics:
    types = {
        "mean": ((dim,), np.float32),
        "edges": ((DIRECTIONS, BINS - 1), np.float32),
        "counts": ((DIRECTIONS, BINS), np.int64),
        "numbers": ((3,), np.float64),
    }
    values = {}
    for name, (shape, dtype) in types.items():
        tensor = tensors.get(f"{number}.{name}")
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
            got = "none" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
            rule = f"{path} must have {number}.{name} of {np.dtype(dtype)} {list(shape)}"
            raise DamagedFileError(rule, got=got, cure=_CURE)
        values[name] = tensor
    counts, numbers = values["counts"], values["numbers"]
    finite = all(np.isfinite(values[name]).all() for name in ("mean", "edges", "numbers"))
    if not finite or counts.min() < 0 or counts.max() > 1 << 40 or numbers[1:].min() < 0:
        raise DamagedFileError(f"{path} must have finite statistics", cure=_CURE)
    if (np.diff(values["edges"], axis=1) < 0).any():
        raise DamagedFileError(f"{path} must have ascending deciles", cure=_CURE)
    cosine, rows, present = numbers.tolist()
    return ColumnStatistics(
        values["mean"], values["edges"], counts, cosine, int(rows), int(present)
    )
