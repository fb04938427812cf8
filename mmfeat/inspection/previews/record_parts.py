"""Describe the parts of one record in a tar: size and format of each, and its text."""

from collections import Counter
from collections.abc import Callable
from typing import IO, Any

from mmfeat.errors import RecordError
from mmfeat.media import check_audio, open_image
from mmfeat.records import modality_of_slot, slot_of_extension
from mmfeat.shards import IndexedSample, index_tar
from mmfeat.storage import files

_MAX_BYTES = 32 << 20
"""Bytes of a part that are read to describe it."""

_MAX_CHARACTERS = 4000
"""Characters of a text that are shown."""


def describe_parts(shards: str, shard: str, key: str) -> dict[str, dict[str, Any]]:
    """Return the parts of a record: slot → facts, JSON-ready.

    Args:
        shards: directory of the shards.
        shard: name of the shard.
        key: key of the record.

    Returns:
        `bytes` of each part; `text` of a text; `format`, `width` and `height` of an image;
        `seconds`, `rate` and `channels` of a sound; `problem` if it cannot be read. Empty if the
        tar has no such sample.
    """
    path = files.join(shards, f"{shard}.tar")
    sample = _find_sample(path, key)
    if sample is None:
        return {}
    with files.open_input(path) as file:
        parts = {
            slot_of_extension(extension): _describe(file, extension, offset, size)
            for extension, (_, offset, size) in sample.members.items()
        }
    return parts | {
        slot_of_extension(extension): {"problem": reason}
        for extension, (reason, _) in sample.problems.items()
    }


def _find_sample(path: str, key: str) -> IndexedSample | None:
    """Return a sample of a tar; None if it has none, or is damaged before it."""
    try:
        return next((s for s in index_tar(path, Counter()) if s.key == key), None)
    except (RecordError, OSError):
        return None


def _describe(file: IO[bytes], extension: str, offset: int, size: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"bytes": size}
    describe = _DESCRIBE.get(modality_of_slot(slot_of_extension(extension)) or "")
    if describe is None or size > _MAX_BYTES:
        return facts
    file.seek(offset)
    try:
        return facts | describe(file.read(size))
    except (RecordError, OSError) as error:
        return facts | {"problem": str(error)}


def _describe_image(content: bytes) -> dict[str, Any]:
    image = open_image(content)
    return {"format": image.format, "width": image.width, "height": image.height}


def _describe_sound(content: bytes) -> dict[str, Any]:
    info = check_audio(content, decode=False)
    seconds = round(info.frames / info.sample_rate, 3)
    return {"seconds": seconds, "rate": info.sample_rate, "channels": info.channels}


def _describe_text(content: bytes) -> dict[str, Any]:
    text = content.decode("utf-8", "replace")
    return {"text": text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"}


_DESCRIBE: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "image": _describe_image,
    "audio": _describe_sound,
    "text": _describe_text,
}
