"""Arrays of vectors: a folder of .npy files per column, and the rows beside them.

    OUTPUT/image/00000.npy           vectors, shape (rows, dim)
    OUTPUT/text/00000.npy            vectors of the same records, in the same order
    OUTPUT/metadata/00000.parquet    their keys and other columns

clip-retrieval expects the names img_emb, text_emb and metadata. Both hold the records that have
all vectors: vector i of each file and row i of the table are of one record, and readers such as
autofaiss number the vectors in the order of the files' names.
"""

import shlex
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import MmfeatError
from mmfeat.exporting.formats.base import ExportFormat
from mmfeat.exporting.rows import ExportRows
from mmfeat.exporting.source import ExportSource
from mmfeat.storage import files
from mmfeat.store import ShardAttempt

METADATA = "metadata"
"""Folder of the rows."""

_FOLDERS = {"image": "img_emb", "text": "text_emb"}
"""Modality → folder of clip-retrieval."""

_IMAGE_PATH = "image_path"
"""Column that clip-retrieval shows for a result. Its own inference writes the key there."""


class NpyFormat(ExportFormat):
    """Arrays, in a folder per column.

    Raises:
        MmfeatError: no column has one vector per record, or one is called `metadata`.
    """

    def __init__(
        self, source: ExportSource, columns: Sequence[str], vectors: Sequence[str], *, named: bool
    ) -> None:
        super().__init__(source, columns, vectors, named=named)
        self.vectors = [name for name in vectors if not source.shapes[name].max_tokens]
        self.left_out = {
            name: "has several vectors per record" for name in vectors if name not in self.vectors
        }
        if named and self.left_out:
            raise MmfeatError(
                "an array holds one vector per record (--modalities)",
                got=", ".join(self.left_out),
                cure="Leave it out, or use --format parquet",
            )
        if not self.vectors:
            raise MmfeatError(
                f"{source.path} has no column with one vector per record",
                cure="Use --format parquet"
                if source.manifest["kind"] == "features"
                else "Export the features, or use --format parquet",
            )
        self._folders = self._choose_folders()

    def _choose_folders(self) -> dict[str, str]:
        """Return column → folder."""
        if METADATA in self.vectors:
            raise MmfeatError(
                f"the folder {METADATA} is taken by the rows of the export",
                got=f"a column called {METADATA}",
                cure="Leave it out with --modalities, or use --format parquet",
            )
        return {name: name for name in self.vectors}

    def write(self, attempt: ShardAttempt, rows: ExportRows) -> Counter[str]:
        """Write an array per column and the table. A shard without a complete row has no files."""
        complete = rows.complete()
        if complete.any():
            for name, folder in self._folders.items():
                array = np.ascontiguousarray(rows.vectors[name].features[complete])
                with attempt.create(files.join(folder, f"{rows.shard}.npy")) as output:
                    np.lib.format.write_array(output, array, allow_pickle=False)
            table = self._describe(rows.table.filter(pa.array(complete)))
            with attempt.create(files.join(METADATA, f"{rows.shard}.parquet")) as output:
                pq.write_table(table, output, compression="zstd")
        return Counter(rows.missing_reasons())

    def _describe(self, table: pa.Table) -> pa.Table:
        return table

    def usage(self, output: str) -> str:
        """Return the command of autofaiss."""
        folder = files.join(output, next(iter(self._folders.values())))
        return f"autofaiss build_index --embeddings={shlex.quote(folder)}"


class ClipRetrievalFormat(NpyFormat):
    """The folders that `clip-retrieval index` reads: at most one column of images and of texts."""

    def _choose_folders(self) -> dict[str, str]:
        modalities = self.source.modalities
        folders: dict[str, str] = {}
        for modality, folder in _FOLDERS.items():
            names = [name for name in self.vectors if modalities[name] == modality]
            if len(names) > 1:
                raise MmfeatError(
                    f"clip-retrieval reads one column of {modality} vectors",
                    got=", ".join(names),
                    cure="Name one of them with --modalities",
                )
            folders |= dict.fromkeys(names, folder)
        others = dict.fromkeys(self.vectors, "is neither of images nor of texts")
        others = {name: reason for name, reason in others.items() if name not in folders}
        if (self._named and others) or not folders:
            raise MmfeatError(
                "clip-retrieval reads vectors of images and of texts",
                got=", ".join(others) or None,
                cure="Use --format npy",
            )
        self.left_out |= others
        self.vectors = list(folders)
        return folders

    def _describe(self, table: pa.Table) -> pa.Table:
        if _IMAGE_PATH in table.column_names:
            return table
        return table.append_column(_IMAGE_PATH, table["__key__"])

    def usage(self, output: str) -> str:
        """Return the command of clip-retrieval."""
        folder = shlex.quote(output)
        return f"clip-retrieval index --embeddings_folder={folder} --index_folder=INDEX"
