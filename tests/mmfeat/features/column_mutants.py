"""Read damaged column files. It runs as a program: a crash would end the tests, too.

python -m tests.mmfeat.features.column_mutants FOLDER MUTANTS
"""

import random
import sys
from collections import Counter

import numpy as np

from mmfeat.errors import DamagedFileError
from mmfeat.features import (
    OK,
    FeatureShape,
    RowStatus,
    make_column_batch,
    read_column_file,
    read_reasons,
)
from mmfeat.storage import files
from tests.mmfeat.features.test_store import write_column

SHAPES = (FeatureShape(16), FeatureShape(7, "float32"), FeatureShape(5, max_tokens=6))

ABSURD = (b"\xff" * 8, b"\x7f" * 8, (1 << 62).to_bytes(8, "little"), b"\x01" + b"\0" * 7)


def write_rows(path: str, shape: FeatureShape) -> bytes:
    """Write a column of three batches, and return its bytes."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(3):
        sizes = [(1 + n % 6, shape.dim) if shape.max_tokens else shape.dim for n in range(30)]
        features = [None if n % 7 == 3 else rng.normal(size=size) for n, size in enumerate(sizes)]
        lost = RowStatus("failed", "undecodable", "größe")
        statuses = [lost if feature is None else OK for feature in features]
        batches.append(make_column_batch(features, statuses, shape))
    write_column(path, batches, shape)
    with files.open_input(path) as file:
        return file.read()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip bits, zero, cut or insert bytes, or write an absurd number; often in the metadata."""
    changed = bytearray(data)
    start = rng.choice((0, 0, max(0, len(data) - 1500)))
    place = rng.randrange(start, min(len(data), start + 1500) if rng.random() < 0.7 else len(data))
    match rng.randrange(6):
        case 0 | 1:
            for _ in range(rng.choice((1, 1, 3))):
                changed[min(place + rng.randrange(64), len(data) - 1)] ^= 1 << rng.randrange(8)
        case 2:
            size = rng.choice((1, 8, 256))
            changed[place : place + size] = bytes(len(changed[place : place + size]))
        case 3:
            del changed[place:]
        case 4:
            number = rng.choice(ABSURD)[: rng.choice((4, 8))]
            place -= place % 4
            changed[place : place + len(number)] = number
        case 5:
            changed[place:place] = rng.randbytes(rng.choice((1, 8, 64)))
    return bytes(changed)


def read_all(path: str, data: bytes, shape: FeatureShape) -> str:
    """Read a file that its receipt agrees with, as a stranger would write it; use all values."""
    with files.create(path) as output:
        output.write(data)
    try:
        rows = read_column_file(path, output.info(), shape)
        read_reasons(path)
    except DamagedFileError as error:
        return "refused" if path in str(error) else f"refused without its name: {error}"
    everything = np.arange(len(rows.present))
    features, mask = rows.take(everything, shape.max_tokens)
    assert features.shape[-1] == shape.dim
    with np.errstate(all="ignore"):
        features.astype(np.float64).sum(), mask.sum()
    rows.reasons.to_pylist()
    return "read"


def main(folder: str, mutants: int) -> None:
    """Read all mutants and print how many were refused and how many read."""
    results: Counter[str] = Counter()
    for shape in SHAPES:
        path = files.join(folder, "00000.arrow")
        intact = write_rows(path, shape)
        assert read_all(path, intact, shape) == "read"
        for seed in range(mutants // len(SHAPES)):
            results[read_all(path, mutate(intact, random.Random(seed)), shape)] += 1
    print(dict(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
