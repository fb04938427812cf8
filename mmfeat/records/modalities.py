"""The modalities, as data: a new one is one entry here and an encoder.

A *slot* is one part of a record: `image`, or `image.left` for a second picture, which stands in
the tar as `KEY.left.jpg`. Members of a tar that hold no modality keep a slot named after their
extension (`cls`, `npy`) and are carried as they are.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Modality:
    """What the stages need to know of a modality.

    Attributes:
        extensions: member extensions, lower case, that hold it in a shard or a folder.
        columns: column names that are taken for it when none is named, most telling first.
        inline: whether a table's cell holds the content itself; else the cell says where it is.
    """

    name: str
    extensions: tuple[str, ...]
    columns: tuple[str, ...]
    inline: bool = False


_PICTURES = tuple(
    "jpg jpeg png webp gif bmp tif tiff ppm pgm pbm pnm "
    "jp2 j2k avif ico tga dds pcx sgi icns img".split()
)

_SOUNDS = tuple("wav flac mp3 ogg opus oga aif aiff aifc au caf w64 rf64 m4a aac wma snd".split())

MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            "image",
            _PICTURES,
            (
                "image", "image_path", "image_file", "image_file_name", "img", "picture",
                "image_url",
            ),
        ),
        Modality(
            "audio",
            _SOUNDS,
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
"""Name → modality, in the order in which members of a sample are written."""

PATH_COLUMNS = ("file_name", "filename", "path", "file")
"""Column names that may hold the paths of any modality: what is in them tells which."""

_BY_EXTENSION = {
    extension: modality.name
    for modality in MODALITIES.values()
    for extension in modality.extensions
}


def modality_of(extension: str) -> str | None:
    """The modality a member extension holds; None for metadata and unknown ones."""
    return _BY_EXTENSION.get(extension.lower())


def slot_modality(slot: str) -> str | None:
    """The modality of a slot; None for one that is carried as it is."""
    name = slot.partition(".")[0]
    return name if name in MODALITIES else None


def slot_of(extension: str) -> str:
    """The slot of a tar member's whole extension: `jpg` → `image`, `left.jpg` → `image.left`."""
    prefix, _, last = extension.rpartition(".")
    modality = modality_of(last)
    if modality is None:
        return carried_slot(extension)
    return f"{modality}.{prefix}" if prefix else modality


def carried_slot(extension: str) -> str:
    """The slot of a member that is carried as it is: its extension, or a dot and its extension.

    `text`, or `image.json`, would else be the name of a modality's slot.
    """
    return f".{extension}" if _looks_like_slot(extension) else extension


def carried_extension(slot: str) -> str:
    """The inverse of `carried_slot`."""
    return slot[1:] if slot.startswith(".") and _looks_like_slot(slot) else slot


def _looks_like_slot(name: str) -> bool:
    return slot_modality(name.lstrip(".")) is not None


def member_extension(slot: str, extension: str) -> str:
    """The inverse: how a slot's content with such an extension stands in a tar."""
    prefix = slot.partition(".")[2]
    return f"{prefix}.{extension}" if prefix else extension
