"""The modalities, as data: a new one is one entry here and an encoder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Modality:
    """What the stages need to know of a modality.

    Attributes:
        extensions: member extensions, lower case, that hold it in a shard or a folder.
        columns: column names that are taken for it when none is named, most telling first.
        inline: whether a table's cell holds the content itself; else the cell is a path.
    """

    name: str
    extensions: tuple[str, ...]
    columns: tuple[str, ...]
    inline: bool = False


_PICTURES = tuple(
    "jpg jpeg png webp gif bmp tif tiff ppm pgm pbm pnm "
    "jp2 j2k avif ico tga dds pcx sgi icns img".split()
)

MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            "image",
            _PICTURES,
            ("file_name", "image", "image_path", "image_file", "filename", "img", "path", "file"),
        ),
        Modality(
            "text",
            ("txt",),
            ("text", "caption", "description", "title", "sentence", "content"),
            inline=True,
        ),
    )
}
"""Name → modality, in the order in which members of a sample are written."""

_BY_EXTENSION = {
    extension: modality.name
    for modality in MODALITIES.values()
    for extension in modality.extensions
}


def modality_of(extension: str) -> str | None:
    """The modality a member extension holds; None for metadata and unknown ones."""
    return _BY_EXTENSION.get(extension.lower())
