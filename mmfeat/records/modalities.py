"""The modalities as data: a new one needs one entry here and an encoder.

A *slot* is one part of a record: `image`, or `image.left` for a second picture, which the tar
holds as `KEY.left.jpg`. Tar members without a modality pass through unchanged; their slot is
their extension (`cls`, `npy`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Modality:
    """A modality.

    Attributes:
        formats: name of a format → its file extensions in lower case, the usual one first.
        columns: conventional names of its table columns, the most specific first.
        default_extension: extension of content in an unknown format.
        inline: whether a table cell holds the content itself instead of a path.
    """

    name: str
    formats: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...]
    default_extension: str
    inline: bool = False

    @cached_property
    def extensions(self) -> tuple[str, ...]:
        """All file extensions of the modality."""
        return (*(e for names in self.formats.values() for e in names), self.default_extension)

    def extension_of(self, format_name: str) -> str:
        """Return the usual extension of a format; the default one if the format is unknown."""
        return self.formats.get(format_name, (self.default_extension,))[0]


def _parse_formats(lines: str) -> dict[str, tuple[str, ...]]:
    rows = (line.split() for line in lines.strip().splitlines())
    return {name: tuple(extensions) for name, *extensions in rows}


_IMAGE_FORMATS = _parse_formats("""
AVIF      avif avifs
BMP       bmp
CUR       cur
DCX       dcx
DDS       dds
DIB       dib
FLI       fli flc
GIF       gif
ICNS      icns
ICO       ico
IM        im
JPEG      jpeg jpg jpe jfif
JPEG2000  jp2 j2k jpc jpf jpx j2c
MPO       mpo
MSP       msp
PCX       pcx
PIXAR     pxr
PNG       png apng
PPM       ppm pgm pbm pnm pfm
PSD       psd
QOI       qoi
SGI       sgi rgb rgba bw
SUN       ras
TGA       tga icb vda vst
TIFF      tiff tif
WEBP      webp
XBM       xbm
XPM       xpm
""")
"""Every format that `mmfeat.media.images.decode` decodes, by Pillow's name. Left out: EPS (starts
Ghostscript), WMF (rendered by Windows), formats without a decoder (BUFR, GRIB, HDF5), and game
textures (BLP, FTEX: 284 malicious bytes can take 1.5 seconds)."""

_AUDIO_FORMATS = _parse_formats("""
AIFF   aiff aif aifc
AU     au
AVR    avr
CAF    caf
FLAC   flac
HTK    htk
IRCAM  sf ircam
MP3    mp3 mp2 mp1
NIST   sph nist
OGG    ogg opus oga
PAF    paf
PVF    pvf
RF64   rf64
SDS    sds
SVX    svx 8svx
VOC    voc
W64    w64
WAV    wav wave
WAVEX  wav
WVE    wve
XI     xi
other  m4a aac wma
""")
"""Every format that `mmfeat.media.audio` decodes, by libsndfile's name, and common ones that it
does not decode, so that their files have a reason. Left out: formats without a header (RAW, SD2)
and MATLAB's files, which hold any data."""

MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            "image",
            _IMAGE_FORMATS,
            (
                "image", "image_path", "image_file", "image_file_name", "img", "picture",
                "image_url",
            ),
            "img",
        ),
        Modality(
            "audio",
            _AUDIO_FORMATS,
            ("audio", "audio_path", "audio_file", "audio_file_name", "sound", "wav", "audio_url"),
            "snd",
        ),
        Modality(
            "text",
            {},
            ("text", "caption", "description", "title", "sentence", "content"),
            "txt",
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


def slot_column(slot: str) -> str:
    """Return the name of the default feature column of a slot: `text.desc` → `text_desc`."""
    return re.sub(r"[^\w-]", "_", slot)


def member_extension(slot: str, extension: str) -> str:
    """Return the tar member extension for a slot's content: `image.left`, `jpg` → `left.jpg`."""
    prefix = slot.partition(".")[2]
    return f"{prefix}.{extension}" if prefix else extension
