"""The forms of input and how to open them.

To add a form, write a `Source` and add an entry to `INPUT_FORMS`; another package adds an
`InputForm` as an entry point of the group `mmfeat.sources`.
"""

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from mmfeat.errors import MmfeatError
from mmfeat.plugins import Registry
from mmfeat.records import MODALITIES, split_of_folder
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.folders import (
    METADATA_FILES,
    Folder,
    FolderSource,
    format_types,
    is_compressed_tar,
    list_folder,
)
from mmfeat.sources.paths import expand_pattern
from mmfeat.sources.tables import TableFile, TableSource
from mmfeat.sources.tars import TarSource
from mmfeat.storage import files
from mmfeat.store import CONFIG_FILE, MANIFEST_FILE, unfinished_error

_SNIFFED_RECORDS = 100
"""Records of a metadata table whose files are looked up if tars lie next to it."""


@dataclass(frozen=True)
class InputForm:
    """A form of input.

    Attributes:
        open_folder: opens a folder; returns None if the folder does not have this form.
        open_files: opens files of this form; None if the form is always a folder.
        suffix: suffix of its files; empty = any.
    """

    open_folder: Callable[[Folder, InputOptions], Source | None]
    open_files: Callable[[Sequence[str], InputOptions], Source] | None = None
    suffix: str = ""


def open_source(path: str, options: InputOptions | None = None) -> Source:
    """Open an input: a folder, or one or many tables or tars.

    Args:
        path: the input; globs and braces name several files.
        options: how to read it.

    Raises:
        MmfeatError: the input does not exist, is empty, or does not fit the options.
    """
    options = options or InputOptions()
    if files.is_folder(path):
        folder = list_folder(path.rstrip("/") or "/")
        sources = (form.open_folder(folder, options) for form in _input_forms())
        return next(source for source in sources if source)
    paths = expand_pattern(path)
    _refuse_compressed_tars(paths)
    openers = [_opener_of_file(p) for p in paths]
    other = next((p for p, opener in zip(paths, openers, strict=True) if opener != openers[0]), "")
    if other:
        raise MmfeatError("tars and other files cannot be one input", got=other)
    return openers[0](paths, options)


def _refuse_compressed_tars(paths: Sequence[str]) -> None:
    if compressed := [path for path in paths if is_compressed_tar(path)]:
        raise MmfeatError(
            "tars must not be compressed, because their members are read by position",
            got=compressed[0],
            cure="Decompress them first; images hardly shrink by compression",
        )


def _opener_of_file(path: str) -> Callable[[Sequence[str], InputOptions], Source]:
    return next(
        form.open_files
        for form in _input_forms()
        if form.open_files and path.lower().endswith(form.suffix)
    )


def _open_metadata_folder(folder: Folder, options: InputOptions) -> Source | None:
    """Open a folder with a metadata table. It may list the members of a tar next to it."""
    tables = _find_metadata_files(folder)
    if not tables:
        return None
    source = TableSource(tables, options)
    if folder.paths(".tar") and not _names_existing_files(source):
        return None
    source.folder = folder.path
    return source


def _find_metadata_files(folder: Folder) -> list[TableFile]:
    """Return the metadata tables of a folder, or of its folders of splits."""
    if table := _find_metadata_file(folder):
        return [TableFile(table, folder.path)]
    tables, without_table = [], []
    for name in folder.folders:
        if (split := split_of_folder(name)) is None:
            continue
        split_folder = list_folder(files.join(folder.path, name))
        if table := _find_metadata_file(split_folder):
            tables.append(TableFile(table, split_folder.path, {"split": split}))
        else:
            without_table.append(split_folder.path)
    if tables and without_table:
        raise MmfeatError(
            f"all folders of splits in {folder.path} need a metadata file if one has it",
            got=without_table[0],
            cure=f"Add a {METADATA_FILES[0]} to it, or name one folder as INPUT",
        )
    return tables


def _find_metadata_file(folder: Folder) -> str | None:
    names = {file.path.lower(): file.path for file in folder.files}
    name = next((names[name] for name in METADATA_FILES if name in names), None)
    return files.join(folder.path, name) if name else None


def _names_existing_files(source: TableSource) -> bool:
    """Return whether one of the first media files of a table exists, or is on a web server."""
    return any(
        "://" in p or files.is_file(p) for p in islice(source.media_files(), _SNIFFED_RECORDS)
    )


def _open_tar_folder(folder: Folder, options: InputOptions) -> Source | None:
    """Open a folder of tars, unless it has more images and sounds than tars."""
    tars = folder.paths(".tar")
    names = [file.path for file in folder.files]
    if not tars or (MANIFEST_FILE not in names and folder.count("image", "audio") > len(tars)):
        return None
    if CONFIG_FILE in names and MANIFEST_FILE not in names:
        raise unfinished_error("shards", folder.path)
    source = _open_tars(tars, options)
    source.folder = folder.path
    return source


def _open_tars(paths: Sequence[str], options: InputOptions) -> Source:
    if options.names_columns:
        raise MmfeatError("column flags need a table, and tars have none", got=paths[0])
    return TarSource(paths)


def _open_parquet_folder(folder: Folder, options: InputOptions) -> Source | None:
    """Open a folder of Parquet tables. Other files in it, such as a README, are ignored."""
    tables = folder.paths(".parquet")
    if not tables or folder.folders or folder.count(*MODALITIES):
        return None
    source = _open_tables(tables, options)
    source.folder = folder.path
    return source


def _open_tables(paths: Sequence[str], options: InputOptions) -> Source:
    return TableSource([TableFile(path, posixpath.dirname(path)) for path in paths], options)


def _open_media_folder(folder: Folder, options: InputOptions) -> Source:
    if options.names_columns:
        raise MmfeatError(f"column flags need a table, and {folder.path} is a folder")
    source = FolderSource(folder.path, options)
    if not source.slots:
        _refuse_compressed_tars([file.path for file in folder.files])
        raise MmfeatError(
            f"no images, audio or texts found in the folder {folder.path}",
            got=format_types(source.ignored) or "no files",
            cure="Name a folder that contains them, tars, or a table of their paths",
        )
    return source


INPUT_FORMS: Registry[InputForm] = Registry(
    "mmfeat.sources",
    {
        "metadata_folder": InputForm(_open_metadata_folder),
        "tars": InputForm(_open_tar_folder, _open_tars, suffix=".tar"),
        "tables": InputForm(_open_parquet_folder, _open_tables),
        "media_folder": InputForm(_open_media_folder),
    },
)
"""All forms by name. Those of plug-ins are tried first; the first one that fits is used."""


def _input_forms() -> list[InputForm]:
    own = dict(INPUT_FORMS)
    return [own[name] for name in sorted(own, key=lambda name: name in INPUT_FORMS.own)]
