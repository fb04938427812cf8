"""Folders as input: their files, the records of these, and the files that are not read."""

from mmfeat.sources.folders.folder_source import FolderSource
from mmfeat.sources.folders.folder_walk import (
    METADATA_FILES,
    Folder,
    format_types,
    is_compressed_tar,
    list_folder,
)
from mmfeat.sources.folders.ignored_files import ignored_files_notes

__all__ = [
    "METADATA_FILES",
    "Folder",
    "FolderSource",
    "format_types",
    "ignored_files_notes",
    "is_compressed_tar",
    "list_folder",
]
