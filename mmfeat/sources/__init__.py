"""Sources: from what the user has to a stream of records."""

from collections.abc import Mapping

from mmfeat import storage
from mmfeat.errors import MmfeatError
from mmfeat.sources.base import Source
from mmfeat.sources.folder import FolderSource
from mmfeat.sources.table import TableSource

__all__ = ["FolderSource", "Source", "TableSource", "open_source"]


def open_source(path: str, columns: Mapping[str, str], key_column: str = "") -> Source:
    """The source a path stands for: a folder or a table.

    Args:
        path: the input as the user gave it.
        columns: modality → column name, empty where the user named none.
        key_column: column of keys, or empty.

    Raises:
        MmfeatError: nothing there, nothing in it, or column flags that do not fit.
    """
    if not storage.is_folder(path):
        return TableSource(path, columns, key_column)
    if key_column or any(columns.values()):
        raise MmfeatError(f"column flags go with a table, and {path} is a folder")
    source = FolderSource(path)
    if not source.modalities:
        raise MmfeatError(
            f"no pictures and no texts found in the folder {path}",
            cure="Name a folder that holds them, or a table of their paths",
        )
    return source
