"""Helpers and checks for the tests of all encoders."""

import json
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder, EncoderOptions, Settings
from tests.programs import run_python

REPOSITORY = Path(__file__).resolve().parents[3]


def load_encoder(
    scheme: Any, name: object, modality: str, precision: Any = "float32", **values: str
) -> Encoder:
    """Load an encoder with the module of a scheme, on the CPU. Unknown options are an error."""
    options = EncoderOptions(str(name), values)
    encoder = scheme.load(str(name), modality, options, Settings("cpu", precision))
    options.reject_unknown()
    return encoder


def encode_all(encoder: Encoder, members: Iterable[bytes]) -> list[np.ndarray]:
    """Decode members and encode them in one batch."""
    return list(encoder.encode([encoder.decode(member) for member in members]))


def assert_batch_independent(
    encoder: Encoder, members: Sequence[bytes], atol: float = 1e-5
) -> list[np.ndarray]:
    """Check that features have the right shape and do not depend on the batch, and return them.

    Several threads encode at the same time, as extraction does.
    """
    together = encode_all(encoder, members)
    repeated = [*members] * 4
    with ThreadPoolExecutor(3, initializer=encoder.prepare_thread) as pool:
        encoded = list(pool.map(lambda member: encode_all(encoder, [member]), repeated))
    for feature, (alone,) in zip(together * 4, encoded, strict=True):
        assert feature.dtype == np.float32
        assert feature.shape[-1] == encoder.dim
        assert feature.ndim == (2 if encoder.max_tokens else 1)
        np.testing.assert_allclose(feature, alone, atol=atol)
    return together


def assert_cast_equals_loading(exact: Encoder, half: Encoder, members: Sequence[bytes]) -> None:
    """Check that an encoder in float32, cast to bfloat16, is the one loaded in bfloat16."""
    before = encode_all(exact, members)
    cast = exact.at_precision("bfloat16")
    assert cast is not None
    assert cast.identity() == half.identity() != exact.identity()
    for one, other in zip(encode_all(cast, members), encode_all(half, members), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(encode_all(exact, members), before, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_features_differ(one: np.ndarray, other: np.ndarray, by: float = 1e-4) -> None:
    """Check that the features of two records, vectors or tokens, differ."""
    one, other = np.atleast_2d(one).mean(0), np.atleast_2d(other).mean(0)
    assert np.abs(one - other).max() > by


def assert_valid_vector(vector: np.ndarray, dim: int) -> None:
    """Check a vector of a built-in encoder: values of at most 1 that float16 can store."""
    assert vector.shape == (dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector.astype(np.float16)).all()
    assert np.abs(vector).max() <= 1


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine similarity of two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def copy_checkpoint(source: Path, target: Path, file: str = "", **values: object) -> Path:
    """Copy the directory of a checkpoint, and replace values in one of its JSON files."""
    shutil.copytree(source, target)
    if file:
        path = target / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return target


def heavy_imports(module: str) -> str:
    """Return the heavy packages that importing a module loads, in a new process."""
    code = (
        f"import sys, {module} as _\n"
        "print(sorted({'torch', 'scipy', 'sklearn', 'apache_beam'} & sys.modules.keys()))"
    )
    return run_python(code).strip()


class MaliciousPickle:
    """A pickle that runs code: reading it raises a ZeroDivisionError."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1/0",)
