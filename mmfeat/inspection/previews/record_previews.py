"""Read previews of records from the shards: a thumbnail of each image, the start of each text and
of each sound.

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
from mmfeat.inspection.previews.sounds import make_sound
from mmfeat.inspection.previews.source_shards import check_source_shards, find_source_shards
from mmfeat.media import load_plain_image, pillow_errors_as_record_errors
from mmfeat.records import modality_of_slot, slot_of_extension
from mmfeat.shards import IndexedSample, index_tar
from mmfeat.storage import files

THUMBNAIL_SIDE = 320
"""Pixels of the longer side of a thumbnail. Pages show it smaller until it is opened."""

MAX_IMAGE_BYTES = 32 << 20
MAX_SOUND_BYTES = 32 << 20
MAX_TEXT_BYTES = 4096
MAX_PAGE_CHARACTERS = 8 << 20
"""Most characters of thumbnails and sounds on a page; later ones are left out."""

BROKEN = "image cannot be read"
BROKEN_SOUND = "sound cannot be read"
LEFT_OUT = "left out to limit the size of the page"

_MAX_IMAGES = 4
_MAX_TEXTS = 4
_MAX_SOUNDS = 2
_SHOWN_CHARACTERS = 400


@dataclass
class Preview:
    """A preview of one record, by slots such as `image` and `image.back`.

    Attributes:
        thumbnails: slot → a `data:` URL; empty if the image cannot be shown.
        problems: slot → why its thumbnail or its sound is empty.
        texts: slot → the beginning of the text.
        sounds: slot of audio → a `data:` URL of its beginning; empty if it is not asked for or
            cannot be played.
    """

    thumbnails: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    sounds: dict[str, str] = field(default_factory=dict)


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
    return read_previews(shards, keys, sounds=True), ""


def read_previews(
    shards: str,
    keys: Mapping[str, Collection[str]],
    *,
    sounds: bool = False,
    characters: int | None = None,
) -> dict[tuple[str, str], Preview]:
    """Read previews of records; records that are not found are left out.

    Args:
        shards: directory that `mmfeat shard` wrote.
        keys: shard name → keys.
        sounds: whether to read the sounds, too.
        characters: most characters of thumbnails and sounds; None = `MAX_PAGE_CHARACTERS`.
    """
    previews: dict[tuple[str, str], Preview] = {}
    free = MAX_PAGE_CHARACTERS if characters is None else characters
    for shard, shard_keys in keys.items():
        path = files.join(shards, f"{shard}.tar")
        samples = _find_samples(path, set(shard_keys))
        if not samples:
            continue
        with files.open_input(path) as file:
            for sample in samples:
                preview = _read_preview(file, sample, sounds=sounds)
                free = _leave_out(preview, free)
                previews[shard, sample.key] = preview
    return previews


def _leave_out(preview: Preview, free: int) -> int:
    """Remove media for which no characters are free, and return how many are left."""
    for media in (preview.thumbnails, preview.sounds):
        for slot, content in media.items():
            if len(content) > free:
                media[slot], preview.problems[slot] = "", LEFT_OUT
            free -= len(media[slot])
    return free


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


def _read_preview(file: IO[bytes], sample: IndexedSample, *, sounds: bool) -> Preview:
    preview = Preview()
    for extension, (_, offset, size) in sample.members.items():
        slot = slot_of_extension(extension)
        match modality_of_slot(slot):
            case "image" if slot not in preview.thumbnails:
                _add_thumbnail(preview, slot, file, offset, size)
            case "text" if slot not in preview.texts and len(preview.texts) < _MAX_TEXTS:
                preview.texts[slot] = _read_text(file, offset, size)
            case "audio" if slot not in preview.sounds:
                _add_sound(preview, slot, file, offset, size if sounds else 0)
    for slot in map(slot_of_extension, sample.problems):
        if modality_of_slot(slot) == "image" and slot not in preview.thumbnails:
            preview.thumbnails[slot], preview.problems[slot] = "", BROKEN
    return preview


def _add_thumbnail(preview: Preview, slot: str, file: IO[bytes], offset: int, size: int) -> None:
    thumbnail, problem = "", LEFT_OUT
    if len(preview.thumbnails) < _MAX_IMAGES:
        try:
            thumbnail = make_thumbnail(_read_bytes(file, offset, size, MAX_IMAGE_BYTES))
        except (RecordError, OSError):
            problem = BROKEN
    preview.thumbnails[slot] = thumbnail
    if not thumbnail:
        preview.problems[slot] = problem


def _add_sound(preview: Preview, slot: str, file: IO[bytes], offset: int, size: int) -> None:
    """Add a sound; without its content if `size` is 0."""
    preview.sounds[slot] = ""
    if size and len(preview.sounds) <= _MAX_SOUNDS:
        try:
            preview.sounds[slot] = make_sound(_read_bytes(file, offset, size, MAX_SOUND_BYTES))
        except (RecordError, OSError):
            preview.problems[slot] = BROKEN_SOUND


def _read_bytes(file: IO[bytes], offset: int, size: int, limit: int) -> bytes:
    if size > limit:
        raise RecordError("too_large", f"{size} bytes; the limit is {limit}")
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
        background.convert("RGB").save(buffer, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
