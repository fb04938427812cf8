"""The records behind rows that are shown: their pictures, small, and their texts, from the shards.

Members are found by the headers of a shard's tar and read by their place; nothing is extracted,
and whatever is wrong with a stranger's file becomes a line on the page.
"""

import base64
import io
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import IO

from PIL import Image

from mmfeat.errors import RecordError
from mmfeat.media.images import load_image, pillow_errors_as_record_errors, upright
from mmfeat.records.modalities import modality_of_extension
from mmfeat.shards.tar_index import IndexedSample, index_tar
from mmfeat.store import files

SIDE = 160
"""Pixels of a thumbnail's longer side at most."""

MAX_PICTURE_BYTES = 32 << 20
MAX_TEXT_BYTES = 4096
MAX_PAGE_BYTES = 1 << 20
"""Characters of pictures that a page holds; those behind it are left out."""

BROKEN = "picture cannot be read"
LEFT_OUT = "picture left out: the page has enough of them"

_TEXTS = 4
_SHOWN_TEXT = 400


@dataclass
class Original:
    """What a shard holds of one record.

    Attributes:
        picture: a thumbnail as a `data:` URL; empty where there is none.
        problem: why there is none, where the record should have one.
        texts: beginnings of its texts.
        sounds: how many sounds it has.
    """

    picture: str = ""
    problem: str = ""
    texts: list[str] = field(default_factory=list)
    sounds: int = 0


def read_originals(
    shards: str, wanted: Mapping[str, Collection[str]], with_pictures: bool = True
) -> dict[tuple[str, str], Original]:
    """What the shards hold of some records; those that are not found are not in it.

    Args:
        shards: directory that `mmfeat shard` made.
        wanted: shard → keys.
        with_pictures: whether pictures are read.
    """
    found: dict[tuple[str, str], Original] = {}
    left = MAX_PAGE_BYTES
    for shard, keys in wanted.items():
        path = files.join(shards, f"{shard}.tar")
        samples = _find(path, set(keys))
        if not samples:
            continue
        with files.open_input(path) as file:
            for sample in samples:
                original = _read(file, sample, with_pictures)
                left -= len(original.picture)
                if left < 0:
                    original.picture, original.problem = "", LEFT_OUT
                found[shard, sample.key] = original
    return found


def _find(path: str, keys: set[str]) -> list[IndexedSample]:
    """The samples of some keys; of a damaged tar those before the break."""
    found: list[IndexedSample] = []
    try:
        for sample in index_tar(path, Counter()):
            if sample.key in keys:
                found.append(sample)
                keys.discard(sample.key)
            if not keys:
                break
    except (RecordError, OSError):
        pass
    return found


def _read(file: IO[bytes], sample: IndexedSample, with_pictures: bool) -> Original:
    original = Original()
    for extension in sample.problems:
        if modality_of_extension(extension.rpartition(".")[2]) == "image" and not original.problem:
            original.problem = BROKEN
    for extension, (_, offset, size) in sample.members.items():
        match modality_of_extension(extension.rpartition(".")[2]):
            case "image" if with_pictures and not original.picture:
                try:
                    original.picture = thumbnail(_content(file, offset, size, MAX_PICTURE_BYTES))
                    original.problem = ""
                except (RecordError, OSError):
                    original.problem = BROKEN
            case "text" if len(original.texts) < _TEXTS:
                original.texts.append(_text(file, offset, size))
            case "audio":
                original.sounds += 1
    return original


def _content(file: IO[bytes], offset: int, size: int, most: int) -> bytes:
    if size > most:
        raise RecordError("too_large", f"{size} bytes; at most {most} are read")
    file.seek(offset)
    return file.read(size)


def _text(file: IO[bytes], offset: int, size: int) -> str:
    file.seek(offset)
    text = file.read(min(size, MAX_TEXT_BYTES)).decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_TEXT else text[:_SHOWN_TEXT].rstrip() + "…"


def thumbnail(content: bytes) -> str:
    """A picture's bytes as a `data:` URL of a small JPEG, on white where it is transparent.

    Raises:
        RecordError: the bytes are no picture that is read, or one of too many pixels.
    """
    image = load_image(content, draft=SIDE)
    with pillow_errors_as_record_errors():
        small = upright(image)
        small.thumbnail((SIDE, SIDE), reducing_gap=2.0)
        small = small.convert("RGBA")
        ground = Image.new("RGBA", small.size, "white")
        ground.alpha_composite(small)
        buffer = io.BytesIO()
        ground.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
