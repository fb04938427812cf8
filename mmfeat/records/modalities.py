"""The modalities as data: a new one needs one entry here and an encoder.

A *slot* is one part of a record: `image`, or `image.left` for a second picture, which the tar
holds as `KEY.left.jpg`. Tar members without a modality pass through unchanged; their slot is
their extension (`cls`, `npy`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Modality:
    """A modality.

    Attributes:
        extensions: file extensions of the modality, lower case.
        columns: conventional names of its table columns, the most specific first.
        inline: whether a table cell holds the content itself instead of a path.
    """

    name: str
    extensions: tuple[str, ...]
    columns: tuple[str, ...]
    inline: bool = False


_IMAGE_EXTENSIONS = tuple(
    "jpg jpeg png webp gif bmp tif tiff ppm pgm pbm pnm "
    "jp2 j2k avif ico tga dds pcx sgi icns img".split()
)

_AUDIO_EXTENSIONS = tuple(
    "wav flac mp3 ogg opus oga aif aiff aifc au caf w64 rf64 m4a aac wma snd".split()
)

MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            "image",
            _IMAGE_EXTENSIONS,
            (
                "image", "image_path", "image_file", "image_file_name", "img", "picture",
                "image_url",
            ),
        ),
        Modality(
            "audio",
            _AUDIO_EXTENSIONS,
            ("audio", "audio_path", "audio_file", "audio_file_name", "sound", "wav", "audio_url"),
        ),
        Modality(
            "text",
            ("txt",),
            ("text", "caption", "description", "title", "sentence", "content"),
            inline=True,
        ),
    )
}  # fmt: skip
"""Name → modality, in the order of the members of a sample."""

PATH_COLUMNS = ("file_name", "filename", "path", "file")
"""Column names that may hold paths of any modality; their extensions decide which."""

_BY_EXTENSION = {
    extension: modality.name
    for modality in MODALITIES.values()
    for extension in modality.extensions
}


def modality_of_extension(extension: str) -> str | None:
    """Return the modality of a file extension; None for metadata and unknown extensions."""
    return _BY_EXTENSION.get(extension.lower())


def modality_of_slot(slot: str) -> str | None:
    """Return the modality of a slot; None for a slot that passes through unchanged."""
    name = slot.partition(".")[0]
    return name if name in MODALITIES else None


def slot_of_extension(extension: str) -> str:
    """Return the slot of a tar member: `jpg` → `image`, `left.jpg` → `image.left`.

    Args:
        extension: everything after the first dot of the member name.
    """
    prefix, _, last = extension.rpartition(".")
    modality = modality_of_extension(last)
    if modality is None:
        return passthrough_slot(extension)
    return f"{modality}.{prefix}" if prefix else modality


def passthrough_slot(extension: str) -> str:
    """Return the slot of a member that passes through unchanged: its extension.

    A dot comes first if the extension would read as the slot of a modality, such as `text` or
    `image.json`.
    """
    return f".{extension}" if _looks_like_slot(extension) else extension


def passthrough_extension(slot: str) -> str:
    """Invert `passthrough_slot`."""
    return slot[1:] if slot.startswith(".") and _looks_like_slot(slot) else slot


def _looks_like_slot(name: str) -> bool:
    return modality_of_slot(name.lstrip(".")) is not None


def member_extension(slot: str, extension: str) -> str:
    """Return the tar member extension for a slot's content: `image.left`, `jpg` → `left.jpg`."""
    prefix = slot.partition(".")[2]
    return f"{prefix}.{extension}" if prefix else extension
