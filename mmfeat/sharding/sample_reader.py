"""From the parts of a record to the members of a sample: read, checked, perhaps encoded anew."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mmfeat.errors import RecordError
from mmfeat.media.audio import check_sound
from mmfeat.media.fetch import ContentReader
from mmfeat.media.image_size import plain_size
from mmfeat.media.images import MAX_PIXELS, load_image, open_image
from mmfeat.media.resize import Reencoding
from mmfeat.records.media_ref import MediaRef, known_size, ref_extension
from mmfeat.records.modalities import (
    MODALITIES,
    member_extension,
    modality_of_extension,
    modality_of_slot,
    passthrough_extension,
)
from mmfeat.records.record import Record, Sample

Validation = Literal["none", "header", "decode"]


@dataclass(frozen=True)
class PartReader:
    """Turns records into samples.

    Args:
        slots: slots every record is expected to have.
        contents: reads the bytes.
        validation: how far pictures and sounds are checked.
        reencoding: how pictures are written.
    """

    slots: Sequence[str]
    contents: ContentReader
    validation: Validation
    reencoding: Reencoding

    def read(self, record: Record) -> Sample:
        """A record with its bytes; what cannot be used is among its problems."""
        sample = Sample(record, problems=dict(record.problems))
        if "" in sample.problems:
            return sample
        for slot in [*self.slots, *(slot for slot in record.media if slot not in self.slots)]:
            if slot in sample.problems:
                continue
            try:
                self._add(sample, slot, record.media)
            except RecordError as error:
                sample.problems[slot] = (error.reason, error.detail)
        return sample

    def _add(self, sample: Sample, slot: str, parts: Mapping[str, MediaRef]) -> None:
        part = parts.get(slot)
        if part is None:
            raise RecordError("missing")
        modality = modality_of_slot(slot)
        if modality is None:
            content = self.contents.read(part) if known_size(part) != 0 else b""
            _put(sample, passthrough_extension(slot), content)
            return
        content = self.contents.read(part)
        if modality != "text":
            sample.sha256[slot] = hashlib.sha256(content).hexdigest()
        extension = self._check(modality, ref_extension(part), content)
        if modality == "image" and self.reencoding.active:
            content, extension = self.reencoding.apply(content, extension)
        _put(sample, member_extension(slot, extension), content)

    def _check(self, modality: str, extension: str, content: bytes) -> str:
        """The member extension for usable content."""
        known = modality_of_extension(extension) == modality
        if modality == "text":
            _check_text(content)
        elif self.validation != "none":
            decode = self.validation == "decode"
            if modality == "audio":
                found = check_sound(content, decode=decode).extension
            else:
                found = _check_image(content, extension if known else "", decode=decode)
            if not known and modality_of_extension(found) == modality:
                return found
        return extension if known else MODALITIES[modality].extensions[-1]


def _put(sample: Sample, extension: str, content: bytes) -> None:
    """Add a member; encoded anew, a picture may take the name of another member."""
    if extension in sample.members or extension == "json":
        raise RecordError("duplicate", f"the sample has a member .{extension} already")
    sample.members[extension] = content


def _check_image(content: bytes, extension: str, *, decode: bool) -> str:
    """The format of a picture that can be opened, or decoded; the extension where that is plain."""
    size = None if decode or not extension else plain_size(content)
    if size and size[0] * size[1] <= MAX_PIXELS:
        return extension
    image = load_image(content) if decode else open_image(content)
    return (image.format or "img").lower()


def _check_text(content: bytes) -> None:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecordError("undecodable", str(error)) from error
    if not text.strip():
        raise RecordError("empty", "the text is blank")
