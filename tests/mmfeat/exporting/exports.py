"""Records to export, and readers of exports."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.exporting import ExportConfig, export_store
from tests.training.stores import Records

ROWS, DIM = 23, 5


def make_records(rows=ROWS, tokens=False):
    rng = np.random.default_rng(0)
    present = np.arange(rows) % 4 != 1
    features = {name: rng.normal(size=(rows, DIM)).astype(np.float16) for name in ("image", "text")}
    if tokens:
        features["words"] = rng.normal(size=(rows, 3, DIM)).astype(np.float16)
    metadata = {
        "label": [None if i % 7 == 3 else f"ä <b>{i % 3}" for i in range(rows)],
        "size": list(range(rows)),
    }
    return Records(features, metadata, {"image": present})


def export(store, output, **options):
    return export_store(ExportConfig(str(store), str(output), **options))


def read_arrays(folder, name):
    return np.concatenate([np.load(path) for path in sorted(Path(folder, name).glob("*.npy"))])


def read_tables(folder):
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
