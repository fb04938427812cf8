"""A FAISS index of a column, kept beside the store.

    FEATURES.index/image-0123456789ab/    a folder per column, fingerprint and size
        vectors.faiss                     inverted lists of quantized vectors; ids are row numbers
        config.json, manifest.json        what it was built from; the digest of the file

The vectors are quantized so that the index fits into the memory that is allowed: to 8 bits per
number (SQ8) if that is enough, else by product quantization (Jégou, Douze and Schmid 2011, Product
quantization for nearest neighbor search). A search reads some of the lists (Sivic and Zisserman
2003, Video Google) and compares the candidates again exactly.
"""

import math
import os
import shutil
from typing import Any

import numpy as np

from mmfeat.errors import DamagedFileError, MmfeatError
from mmfeat.retrieval.searched_column import SearchedColumn
from mmfeat.storage import files, lock_directory
from mmfeat.store import (
    check_file,
    finished_manifest,
    json_digest,
    match_run,
    open_run,
    write_manifest,
)
from mmfeat.system import ProgressBar, print_err, scratch_folder

KIND = "index"
INDEX_FILE = "vectors.faiss"

_TRAINING_VECTORS = 40
"""Per inverted list."""

_MAX_TRAINING_BYTES = 256 << 20
_MAX_LISTS = 1 << 16
_PROBED_LISTS = 64
_ID_BYTES = 8
_NO_ROW = -1
"""What FAISS returns in place of a row if its lists have too few."""
_FORMATS = {b"IwSq": "IndexIVFScalarQuantizer", b"IwPQ": "IndexIVFPQ"}
"""First bytes of the files that are read → class. Others may name files of their own."""


class DamagedIndexError(DamagedFileError):
    """An index has the digest of its manifest and cannot be of its store."""


class ColumnIndex:
    """An index of a column, built when it is first needed.

    Args:
        searched: the column, as stored.
        memory_mb: megabytes that the index may take.
    """

    def __init__(self, searched: SearchedColumn, memory_mb: int) -> None:
        self._searched, self._memory = searched, memory_mb << 20
        store, column = searched.store, searched.column
        self._settings: dict[str, Any] = {
            "features": store.manifest["config_hash"],
            "shards": json_digest(store.manifest["shards"]),
            "column": column.fingerprint,
            "memory_mb": memory_mb,
        }
        name = f"{column.name}-{json_digest(self._settings)[:12]}"
        self.folder = files.join(f"{store.path.rstrip('/')}.index", name)

    def search(self, query: np.ndarray, count: int) -> list[int]:
        """Return the numbers of the rows that seem nearest, in the store.

        Args:
            query: float32, shape (d,), of length 1.
            count: number of rows.

        Raises:
            DamagedIndexError: the index has rows twice, or rows that the store lacks.
            OSError: there is no index, and none can be written.
        """
        index = self._open()
        index.nprobe = min(index.nlist, _PROBED_LISTS)
        found = index.search(query[None], count)[1][0]
        rows: list[int] = found[found != _NO_ROW].tolist()
        if len({*rows}) < len(rows) or not all(0 <= row < self._searched.records for row in rows):
            raise DamagedIndexError(f"the index {self.folder} must have each row of the store once")
        return rows

    def _open(self) -> Any:
        """Return the index; it is built if it does not exist or is damaged."""
        with lock_directory(self.folder):
            config_hash = match_run(self.folder, KIND, self._settings)
            manifest = finished_manifest(self.folder, config_hash)
            if manifest:
                try:
                    return self._read(manifest)
                except DamagedFileError as error:
                    print_err(f"mmfeat: warning: {error.rule}; the index is built again")
            open_run(self.folder, KIND, self._settings)
            manifest = self._build(config_hash)
        return self._read(manifest)

    def _read(self, manifest: dict[str, Any]) -> Any:
        path = files.join(self.folder, INDEX_FILE)
        check_file(path, manifest["files"][INDEX_FILE])
        import faiss

        with files.local_copy(path) as local:
            with open(local, "rb") as file:
                kind = _FORMATS.get(file.read(4))
            index: Any = None
            try:
                index = faiss.read_index(local) if kind else None
            except RuntimeError as error:
                raise DamagedFileError(f"{path} must be an index of FAISS: {error}") from error
        # FAISS has classes of other files, and of lists in files that an index names.
        if type(index).__name__ != kind or not _has_own_lists(index, faiss):
            raise DamagedFileError(f"{path} must be an index that mmfeat has written", got=kind)
        if (index.d, index.ntotal) != (self._searched.column.dim, manifest["totals"]["vectors"]):
            raise DamagedFileError(
                f"{path} must have the vectors of its manifest", got=(index.d, index.ntotal)
            )
        return index

    def _build(self, config_hash: str) -> dict[str, Any]:
        import faiss

        searched, dim = self._searched, self._searched.column.dim
        index = self._train(faiss)
        with ProgressBar("index", searched.records, "records") as bar:
            start = 0
            for found in searched:
                index.add_with_ids(found.vectors, found.rows + start)
                start += searched.store.shards[found.shard]
                bar.update(start)
        path = files.join(self.folder, INDEX_FILE)
        with scratch_folder() as scratch:
            faiss.write_index(index, local := os.path.join(scratch, INDEX_FILE))
            with files.create(path) as output, open(local, "rb") as file:
                shutil.copyfileobj(file, output)
        totals = {"records": searched.records, "vectors": index.ntotal, "dim": dim}
        return write_manifest(
            self.folder, KIND, config_hash, files={INDEX_FILE: output.info()}, totals=totals
        )

    def _train(self, faiss: Any) -> Any:
        """Return an empty index with centroids, trained on evenly spaced rows."""
        records, dim = self._searched.records, self._searched.column.dim
        lists = max(1, min(_MAX_LISTS, int(4 * math.sqrt(records)), records // 64))
        wanted = min(_TRAINING_VECTORS * lists, _MAX_TRAINING_BYTES // (4 * dim))
        step = max(1, records // max(1, wanted))
        sample = [found.vectors[::step] for found in self._searched]
        vectors = np.concatenate([np.empty((0, dim), np.float32), *sample])
        if not len(vectors):
            raise MmfeatError(f"column {self._searched.column.name} has no vector to search")
        lists = min(lists, max(1, len(vectors) // 4))
        code = self._choose_code(records, dim, len(vectors))
        index = faiss.index_factory(dim, f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        return index

    def _choose_code(self, records: int, dim: int, trained: int) -> str:
        """Return the most exact quantizer whose codes fit into the memory."""
        if records * (dim + _ID_BYTES) <= self._memory or trained < 256:
            return "SQ8"
        bytes_per_vector = self._memory // records - _ID_BYTES
        sizes = [size for size in range(1, dim + 1) if dim % size == 0]
        fitting = [size for size in sizes if size <= bytes_per_vector]
        if not fitting:
            needed = -(-records * (1 + _ID_BYTES) >> 20) + 1
            raise MmfeatError(
                f"an index of {records:,} vectors does not fit into --index-memory",
                got=self._memory >> 20,
                cure=f"It needs at least {needed}",
            )
        return f"PQ{fitting[-1]}np"  # not polysemous: that takes minutes to train


def _has_own_lists(index: Any, faiss: Any) -> bool:
    return isinstance(faiss.downcast_InvertedLists(index.invlists), faiss.ArrayInvertedLists)


def has_faiss() -> bool:
    """Return whether FAISS is installed."""
    from importlib.util import find_spec

    return find_spec("faiss") is not None
