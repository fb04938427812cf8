"""Sources: from what the user has to a stream of records."""

import posixpath
from collections.abc import Sequence

from mmfeat.errors import MmfeatError
from mmfeat.records.split_names import split_of_folder
from mmfeat.sources.base import InputOptions, Source
from mmfeat.sources.folder import FolderSource
from mmfeat.sources.paths import expand
from mmfeat.sources.table import TableFile, TableSource
from mmfeat.sources.tars import TarSource
from mmfeat.store import files

__all__ = ["FolderSource", "InputOptions", "Source", "TableSource", "TarSource", "open_source"]

METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables that Hugging Face's imagefolder and audiofolder look for in a folder of media."""

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


def open_source(path: str, options: InputOptions | None = None) -> Source:
    """The source a path stands for: a folder, or one or many tables or tars.

    Args:
        path: the input as the user gave it; globs and braces name several files.
        options: how it is to be understood.

    Raises:
        MmfeatError: nothing there, nothing in it, or flags that do not fit.
    """
    options = options or InputOptions()
    if files.is_folder(path):
        return _folder(path.rstrip("/") or "/", options)
    paths = expand(path)
    if packed := [p for p in paths if p.lower().endswith(_COMPRESSED_TARS)]:
        raise MmfeatError(
            "tars must be plain: members of a compressed one cannot be found again",
            got=packed[0],
            cure="Undo the compression first (pictures hardly gain by it)",
        )
    tars = [p for p in paths if p.lower().endswith(".tar")]
    if not tars:
        return _tables(paths, options)
    if len(tars) < len(paths):
        other = next(p for p in paths if p not in tars)
        raise MmfeatError("tars and other files cannot be one input", got=other)
    return _tars(paths, options)


def _folder(path: str, options: InputOptions) -> Source:
    names = files.list_names(path)
    if tars := [name for name in names if name.endswith(".tar")]:
        if "config.json" in names and "manifest.json" not in names:
            raise MmfeatError(
                f"the shards in {path} are not finished: no manifest.json",
                cure="Run the command that makes them again",
            )
        return _tars([files.join(path, name) for name in tars], options)
    if tables := _metadata_files(path, names):
        return TableSource(tables, options)
    if names and all(name.endswith(".parquet") or name.startswith(".") for name in names):
        return _tables([files.join(path, n) for n in names if n.endswith(".parquet")], options)
    if options.names_columns:
        raise MmfeatError(f"column flags go with a table, and {path} is a folder")
    source = FolderSource(path, options)
    if not source.slots:
        raise MmfeatError(
            f"no pictures, sounds or texts found in the folder {path}",
            cure="Name a folder that holds them, or a table of their paths",
        )
    return source


def _metadata_files(path: str, names: Sequence[str]) -> list[TableFile]:
    """The metadata tables of a folder, or of the folders of its splits."""
    here = [name for name in METADATA_FILES if name in names]
    if here:
        return [TableFile(files.join(path, here[0]), path)]
    found, without = [], []
    for name in names:
        split, folder = split_of_folder(name), files.join(path, name)
        if split is None or not files.is_folder(folder):
            continue
        inside = files.list_names(folder)
        if table := next((file for file in METADATA_FILES if file in inside), None):
            found.append(TableFile(files.join(folder, table), folder, {"split": split}))
        else:
            without.append(folder)
    if found and without:
        raise MmfeatError(
            f"either all folders of splits in {path} have a metadata file or none",
            got=without[0],
            cure=f"Add a {METADATA_FILES[0]} to it, or name one folder as INPUT",
        )
    return found


def _tables(paths: Sequence[str], options: InputOptions) -> TableSource:
    return TableSource([TableFile(path, posixpath.dirname(path)) for path in paths], options)


def _tars(paths: Sequence[str], options: InputOptions) -> TarSource:
    if options.names_columns:
        raise MmfeatError("column flags go with a table, and tars have none", got=paths[0])
    return TarSource(paths)
