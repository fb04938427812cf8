"""Read previews of records from the shards: a thumbnail of each image, the start of each text.

The shards may be hostile. Members are located by the headers of the tar and read in place, nothing
is extracted, and a bad file becomes a line on the page.
"""

import base64
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from PIL import Image

from mmfeat.errors import MmfeatError, RecordError
from mmfeat.media import load_plain_image, pillow_errors_as_record_errors
from mmfeat.preview.source_shards import check_source_shards, find_source_shards
from mmfeat.records import modality_of_slot, slot_of_extension
from mmfeat.shards import IndexedSample, index_tar
from mmfeat.storage import files

THUMBNAIL_SIDE = 160
"""Pixels of the longer side of a thumbnail."""

MAX_IMAGE_BYTES = 32 << 20
MAX_TEXT_BYTES = 4096
MAX_PAGE_CHARACTERS = 1 << 20
"""Most characters of thumbnails on a page; later thumbnails are left out."""

BROKEN = "image cannot be read"
LEFT_OUT = "image left out to limit the size of the page"

_MAX_IMAGES = 4
_MAX_TEXTS = 4
_SHOWN_CHARACTERS = 400


@dataclass
class Preview:
    """A preview of one record, by slots such as `image` and `image.back`.

    Attributes:
        thumbnails: slot → a `data:` URL; empty if the image cannot be shown.
        problems: slot → why its thumbnail is empty.
        texts: slot → the beginning of the text.
        sounds: slots of audio.
    """

    thumbnails: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sounds: list[str] = field(default_factory=list)


def load_previews(
    records: Iterable[tuple[str, str]],
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    shards: str | None,
) -> tuple[dict[tuple[str, str], Preview], str]:
    """Load the previews of records of a model.

    Args:
        records: shard name and key of each record.
        config: configuration of the model.
        manifest: manifest of the model.
        shards: directory of the shards; None = find it through the features.

    Returns:
        (shard, key) → preview of the records found, and the reason if the shards are not available.
    """
    reason = ""
    if shards is None:
        shards, reason = find_source_shards(config, manifest)
    if shards is None:
        return {}, reason
    try:
        names = check_source_shards(shards, config)
    except MmfeatError as error:
        return {}, error.rule
    keys: dict[str, list[str]] = {}
    for shard, key in records:
        if shard in names:  # A shard name from a file must not be used as a path.
            keys.setdefault(shard, []).append(key)
    return read_previews(shards, keys), ""


def read_previews(
    shards: str, keys: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], Preview]:
    """Read previews of records; records that are not found are left out.

    Args:
        shards: directory that `mmfeat shard` wrote.
        keys: shard name → keys.
    """
    previews: dict[tuple[str, str], Preview] = {}
    free_characters = MAX_PAGE_CHARACTERS
    for shard, shard_keys in keys.items():
        path = files.join(shards, f"{shard}.tar")
        samples = _find_samples(path, set(shard_keys))
        if not samples:
            continue
        with files.open_input(path) as file:
            for sample in samples:
                preview = _read_preview(file, sample)
                for slot, thumbnail in preview.thumbnails.items():
                    free_characters -= len(thumbnail)
                    if thumbnail and free_characters < 0:
                        preview.thumbnails[slot], preview.problems[slot] = "", LEFT_OUT
                previews[shard, sample.key] = preview
    return previews


def _find_samples(path: str, keys: set[str]) -> list[IndexedSample]:
    """Return the samples with the given keys; of a damaged tar, those before the damage."""
    samples: list[IndexedSample] = []
    try:
        for sample in index_tar(path, Counter()):
            if sample.key in keys:
                samples.append(sample)
                keys.discard(sample.key)
            if not keys:
                break
    except (RecordError, OSError):
        pass
    return samples


def _read_preview(file: IO[bytes], sample: IndexedSample) -> Preview:
    preview = Preview()
    for extension, (_, offset, size) in sample.members.items():
        slot = slot_of_extension(extension)
        match modality_of_slot(slot):
            case "image" if slot not in preview.thumbnails:
                _add_thumbnail(preview, slot, file, offset, size)
            case "text" if slot not in preview.texts and len(preview.texts) < _MAX_TEXTS:
                preview.texts[slot] = _read_text(file, offset, size)
            case "audio" if slot not in preview.sounds:
                preview.sounds.append(slot)
    for slot in map(slot_of_extension, sample.problems):
        if modality_of_slot(slot) == "image" and slot not in preview.thumbnails:
            preview.thumbnails[slot], preview.problems[slot] = "", BROKEN
    return preview


def _add_thumbnail(preview: Preview, slot: str, file: IO[bytes], offset: int, size: int) -> None:
    thumbnail, problem = "", LEFT_OUT
    if len(preview.thumbnails) < _MAX_IMAGES:
        try:
            thumbnail = make_thumbnail(_read_image(file, offset, size))
        except (RecordError, OSError):
            problem = BROKEN
    preview.thumbnails[slot] = thumbnail
    if not thumbnail:
        preview.problems[slot] = problem


def _read_image(file: IO[bytes], offset: int, size: int) -> bytes:
    if size > MAX_IMAGE_BYTES:
        raise RecordError("too_large", f"{size} bytes; the limit is {MAX_IMAGE_BYTES}")
    file.seek(offset)
    return file.read(size)


def _read_text(file: IO[bytes], offset: int, size: int) -> str:
    file.seek(offset)
    text = file.read(min(size, MAX_TEXT_BYTES)).decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS].rstrip() + "…"


def make_thumbnail(content: bytes) -> str:
    """Return a small JPEG of an image as a `data:` URL; transparent pixels become white.

    Raises:
        RecordError: the image cannot be decoded or has too many pixels.
    """
    small = load_plain_image(content, draft=THUMBNAIL_SIDE)
    with pillow_errors_as_record_errors():
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
        small = small.convert("RGBA")
        background = Image.new("RGBA", small.size, "white")
        background.alpha_composite(small)
        buffer = io.BytesIO()
        background.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
