"""Count the files of an input folder that are not read, so that nothing is left out silently."""

import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from itertools import chain, groupby

from mmfeat.sources.base import Source
from mmfeat.sources.folders.folder_walk import FolderWalk, format_types
from mmfeat.storage import files
from mmfeat.system import external_sort


def ignored_files_notes(source: Source) -> list[str]:
    """Return how many files of the folder that the user named as input are not read, by type."""
    types = count_ignored_files(source) if source.folder else Counter[str]()
    if not types:
        return []
    note = f"ignored files of {source.folder} {source.other_files}: {format_types(types)}"
    return [note + ("; decompress tars to read them" if any(".tar." in t for t in types) else "")]


def count_ignored_files(source: Source) -> Counter[str]:
    """Return type → number of files in the folder of a source that it does not read."""
    types = Counter[str]()
    walk = FolderWalk(source.folder)
    for _, group in groupby(external_sort(_path_lines(source, walk)), key=_path_of_line):
        types.update(_type_if_ignored(group))
    return types + walk.left_out


def _path_lines(source: Source, walk: FolderWalk) -> Iterator[bytes]:
    """Yield a line per file that lies in the folder, and one per file that is read.

    Of equal paths, the line of a file that is read comes first: it has no type.
    """
    any_media = False
    for file in walk:
        any_media = any_media or bool(file.modality)
        yield _path_line(files.join(source.folder, file.path), file.type)
    # To know which media are read takes a pass over the records.
    for path in chain(source.input_files(), source.media_files() if any_media else ()):
        yield _path_line(path, "")


def _path_line(path: str, type_: str) -> bytes:
    """Encode as JSON, because names may have line feeds and bytes that are not UTF-8."""
    path = posixpath.normpath(path) if "://" in path else os.path.abspath(path)
    return f"{json.dumps(path)}\t{json.dumps(type_)}\n".encode()


def _path_of_line(line: bytes) -> bytes:
    return line.split(b"\t", 1)[0]


def _type_if_ignored(lines: Iterator[bytes]) -> list[str]:
    type_ = str(json.loads(next(lines).split(b"\t", 1)[1]))
    return [type_] if type_ else []
