"""The forms of input and how to open them.

To add a form, write a `Source` and add an entry to `INPUT_FORMS`.
"""

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmfeat.errors import MmfeatError
from mmfeat.records import split_of_folder
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.folder_source import FolderSource
from mmfeat.sources.paths import expand_pattern
from mmfeat.sources.table_source import TableFile, TableSource
from mmfeat.sources.tar_source import TarSource
from mmfeat.store import files

METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables that Hugging Face's imagefolder and audiofolder expect in a folder of media."""

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class InputForm:
    """A form of input.

    Attributes:
        open_folder: opens a folder, given its path and the names in it; returns None if the
            folder does not have this form.
        open_files: opens files of this form; None if the form is always a folder.
        suffix: suffix of its files; empty = any.
    """

    open_folder: Callable[[str, Sequence[str], InputOptions], Source | None]
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
        folder = path.rstrip("/") or "/"
        names = files.list_names(folder)
        sources = (form.open_folder(folder, names, options) for form in INPUT_FORMS)
        return next(source for source in sources if source)
    paths = expand_pattern(path)
    if compressed := [p for p in paths if p.lower().endswith(_COMPRESSED_TARS)]:
        raise MmfeatError(
            "tars must not be compressed, because their members are read by position",
            got=compressed[0],
            cure="Decompress them first; images hardly shrink by compression",
        )
    openers = [_opener_of_file(p) for p in paths]
    other = next((p for p, opener in zip(paths, openers, strict=True) if opener != openers[0]), "")
    if other:
        raise MmfeatError("tars and other files cannot be one input", got=other)
    return openers[0](paths, options)


def _opener_of_file(path: str) -> Callable[[Sequence[str], InputOptions], Source]:
    return next(
        form.open_files
        for form in INPUT_FORMS
        if form.open_files and path.lower().endswith(form.suffix)
    )


def _open_tar_folder(path: str, names: Sequence[str], options: InputOptions) -> Source | None:
    tars = [name for name in names if name.endswith(".tar")]
    if not tars:
        return None
    if "config.json" in names and "manifest.json" not in names:
        raise MmfeatError(
            f"the shards in {path} are not finished: no manifest.json",
            cure="Run the command that makes them again",
        )
    return _open_tars([files.join(path, name) for name in tars], options)


def _open_tars(paths: Sequence[str], options: InputOptions) -> Source:
    if options.names_columns:
        raise MmfeatError("column flags need a table, and tars have none", got=paths[0])
    return TarSource(paths)


def _open_table_folder(path: str, names: Sequence[str], options: InputOptions) -> Source | None:
    if tables := _find_metadata_files(path, names):
        return TableSource(tables, options)
    if names and all(name.endswith(".parquet") or name.startswith(".") for name in names):
        return _open_tables([files.join(path, n) for n in names if n.endswith(".parquet")], options)
    return None


def _find_metadata_files(path: str, names: Sequence[str]) -> list[TableFile]:
    """Return the metadata tables of a folder, or of its folders of splits."""
    if name := next((name for name in METADATA_FILES if name in names), None):
        return [TableFile(files.join(path, name), path)]
    tables, without_table = [], []
    for name in names:
        split, folder = split_of_folder(name), files.join(path, name)
        if split is None or not files.is_folder(folder):
            continue
        names_inside = files.list_names(folder)
        if table := next((file for file in METADATA_FILES if file in names_inside), None):
            tables.append(TableFile(files.join(folder, table), folder, {"split": split}))
        else:
            without_table.append(folder)
    if tables and without_table:
        raise MmfeatError(
            f"all folders of splits in {path} need a metadata file if one has it",
            got=without_table[0],
            cure=f"Add a {METADATA_FILES[0]} to it, or name one folder as INPUT",
        )
    return tables


def _open_tables(paths: Sequence[str], options: InputOptions) -> Source:
    return TableSource([TableFile(path, posixpath.dirname(path)) for path in paths], options)


def _open_media_folder(path: str, names: Sequence[str], options: InputOptions) -> Source:
    if options.names_columns:
        raise MmfeatError(f"column flags need a table, and {path} is a folder")
    source = FolderSource(path, options)
    if not source.slots:
        raise MmfeatError(
            f"no images, audio or texts found in the folder {path}",
            cure="Name a folder that contains them, or a table of their paths",
        )
    return source


INPUT_FORMS = (
    InputForm(_open_tar_folder, _open_tars, suffix=".tar"),
    InputForm(_open_table_folder, _open_tables),
    InputForm(_open_media_folder),
)
"""All forms; the first one that fits an input is used."""
