"""Reading the parts of a record: bounded, confined to the input's folder, checked."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmfeat import storage
from mmfeat.errors import RecordError
from mmfeat.images import load_image, open_image
from mmfeat.modalities import MODALITIES, modality_of
from mmfeat.sample import Part, Record, Sample

Validation = Literal["none", "header", "decode"]


@dataclass(frozen=True)
class PartReader:
    """Turns records into samples.

    Args:
        root: folder that relative paths start from and may not leave.
        modalities: modalities every record is expected to have.
        validation: how far pictures are checked.
        max_bytes: a larger file is not read.
    """

    root: str
    modalities: Sequence[str]
    validation: Validation
    max_bytes: int

    def read(self, record: Record) -> Sample:
        """A record with its bytes; what cannot be used is among its problems."""
        sample = Sample(record, problems=dict(record.problems))
        if "" in sample.problems:
            return sample
        for modality in self.modalities:
            if modality in sample.problems:
                continue
            try:
                part = record.parts.get(modality)
                if part is None:
                    raise RecordError("missing")
                content = self._content(part)
                extension = self._check(modality, part, content)
            except RecordError as error:
                sample.problems[modality] = (error.reason, error.detail)
            else:
                sample.members[extension] = content
        return sample

    def _content(self, part: Part) -> bytes:
        if part.path is None:
            return (part.value or "").encode()
        path = self._confined(part.path)
        fs, name = storage.filesystem(path)
        try:
            info = fs.info(name)
            if info["type"] != "file":
                raise RecordError("unreadable", f"{part.path}: a {info['type']}, not a file")
            if (info["size"] or 0) > self.max_bytes:
                raise RecordError("too_large", f"{part.path}: {info['size']} bytes")
            with fs.open(name, "rb") as file:
                content: bytes = file.read(self.max_bytes + 1)
        except FileNotFoundError:
            raise RecordError("not_found", part.path) from None
        except (OSError, ValueError) as error:
            raise RecordError("unreadable", f"{part.path}: {error}") from error
        if len(content) > self.max_bytes:
            raise RecordError("too_large", f"{part.path}: more than {self.max_bytes} bytes")
        if not content:
            raise RecordError("empty", part.path)
        return content

    def _confined(self, path: str) -> str:
        if "://" in path or posixpath.isabs(path):
            return path
        normal = posixpath.normpath(path)
        if normal == ".." or normal.startswith("../"):
            raise RecordError("outside", f"{path} leaves {self.root}")
        return storage.join(self.root, normal)

    def _check(self, modality: str, part: Part, content: bytes) -> str:
        """The member extension for usable content."""
        extension = posixpath.splitext(part.path or "")[1].removeprefix(".").lower()
        if modality == "text":
            _check_text(content)
        elif modality == "image" and self.validation != "none":
            image = open_image(content)
            if self.validation == "decode":
                load_image(content)
            if modality_of(extension) != modality:
                extension = (image.format or "img").lower()
        if modality_of(extension) != modality:
            extension = MODALITIES[modality].extensions[-1]
        return extension


def _check_text(content: bytes) -> None:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecordError("undecodable", str(error)) from error
    if not text.strip():
        raise RecordError("empty", "the text is blank")
