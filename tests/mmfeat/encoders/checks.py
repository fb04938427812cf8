"""What is asked of every encoder, whatever it encodes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmfeat.encoders import Encoder
from mmfeat.encoders.options import Options
from mmfeat.encoders.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]


def load_by(
    scheme: Any, name: object, modality: str, precision: Any = "float32", **values: str
) -> Encoder:
    """The encoder that the module of a scheme loads, on the CPU; an option left over is refused."""
    options = Options(str(name), values)
    encoder = scheme.load(str(name), modality, options, Settings("cpu", precision))
    options.done()
    return encoder


def features(encoder: Encoder, members: Iterable[bytes]) -> list[np.ndarray]:
    """What the encoder makes of all of them together."""
    return list(encoder.encode([encoder.decode(member) for member in members]))


def assert_alone_as_together(
    encoder: Encoder, members: Sequence[bytes], atol: float = 1e-5
) -> list[np.ndarray]:
    """A record's feature does not depend on its neighbours, and is in the encoder's shape."""
    together = features(encoder, members)
    for member, feature in zip(members, together, strict=True):
        (alone,) = features(encoder, [member])
        assert feature.dtype == np.float32
        assert feature.shape[-1] == encoder.dim
        assert feature.ndim == (2 if encoder.max_tokens else 1)
        np.testing.assert_allclose(feature, alone, atol=atol)
    return together


def assert_they_differ(one: np.ndarray, other: np.ndarray, by: float = 1e-4) -> None:
    """Features of two records, vectors or tokens, are not the same."""
    one, other = np.atleast_2d(one).mean(0), np.atleast_2d(other).mean(0)
    assert np.abs(one - other).max() > by


def assert_usable(vector: np.ndarray, dim: int) -> None:
    """A vector of the builtin encoders: of numbers up to 1, which float16 holds."""
    assert vector.shape == (dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector.astype(np.float16)).all()
    assert np.abs(vector).max() <= 1


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def changed_copy(source: Path, target: Path, file: str = "", **values: object) -> Path:
    """A copy of a checkpoint's directory, with some values of one of its JSON files replaced."""
    shutil.copytree(source, target)
    if file:
        path = target / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return target


def heavy_imports_of(module: str) -> str:
    """What of the heavy packages a process of its own has loaded once the module is imported."""
    code = (
        f"import sys, {module} as _\n"
        "print(sorted({'torch', 'scipy', 'sklearn', 'apache_beam'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


class Rogue:
    """A pickle that would run code: where it does, a ZeroDivisionError tells so."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1/0",)
