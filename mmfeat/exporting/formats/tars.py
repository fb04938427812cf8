"""WebDataset tars: a .npy per vector and a .json of the other columns.

OUTPUT/data/00000.tar    KEY.image.npy, KEY.text.npy, KEY.json
"""

import io
from collections import Counter

import numpy as np

from mmfeat.exporting.formats.base import ExportFormat
from mmfeat.exporting.rows import ExportRows
from mmfeat.records import Record, Sample, to_json_value
from mmfeat.shards import TarWriter
from mmfeat.storage import files
from mmfeat.store import ShardAttempt

DATA = "data"
"""Folder of the tars."""


class WebDatasetFormat(ExportFormat):
    """One tar per shard, with a sample per record. A missing vector has no member."""

    def write(self, attempt: ShardAttempt, rows: ExportRows) -> Counter[str]:
        """Write the tar of a shard."""
        names = [name for name in self.columns if name != "__key__"]
        others = rows.table.select(names).to_pylist() if names else [{} for _ in rows.keys]
        with attempt.create(files.join(DATA, f"{rows.shard}.tar")) as output:
            writer = TarWriter(output)
            for row, (key, values) in enumerate(zip(rows.keys, others, strict=True)):
                metadata = {name: to_json_value(value) for name, value in values.items()}
                members = {
                    f"{name}.npy": _npy(vectors.vectors(row))
                    for name, vectors in rows.vectors.items()
                    if vectors.present[row]
                }
                writer.write(Sample(Record(row, key, metadata=metadata), members))
            writer.close()
        return Counter()

    def usage(self, output: str) -> str:
        """Return how WebDataset opens the tars."""
        return f"webdataset.WebDataset(glob.glob({files.join(output, DATA)!r} + '/*.tar')).decode()"


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
