"""Write WebDataset tars. The same samples always give the same bytes.

The members of a sample are adjacent and share its key: `key.jpg`, `key.txt`, `key.json`.
"""

import json
import tarfile

from mmfeat.records import Sample
from mmfeat.storage import OutputFile

_WRITE_BYTES = 1 << 20
"""Bytes per write."""

_PADDING = b"\0" * tarfile.BLOCKSIZE

_MAX_OCTAL_SIZE = 8 * 1024**3
"""Smaller sizes fit the eleven octal digits of a plain header."""

_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_AFTER_SIZE = b"0" * 11 + b"\0"
_AFTER_CHECKSUM = b"0" + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247
_CONSTANT_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + _AFTER_CHECKSUM) + 8 * ord(" ")


class TarWriter:
    """Writes samples into a tar.

    The bytes are those of Python's tarfile in PAX format. Headers of plain names are built here:
    this takes a twentieth of the time of tarfile, which is most of the time of writing a sample.
    """

    def __init__(self, output: OutputFile) -> None:
        self._output = output
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._total = 0

    def write(self, sample: Sample) -> None:
        """Append the members of a sample, then its metadata as `.json`."""
        metadata = json.dumps(sample.record.metadata, ensure_ascii=False, sort_keys=True)
        for extension, content in sample.members.items():
            self._write_member(f"{sample.key}.{extension}", content)
        self._write_member(f"{sample.key}.json", metadata.encode())

    def close(self) -> None:
        """Write the end of the tar."""
        end = 2 * tarfile.BLOCKSIZE
        self._append(b"\0" * (end + -(self._total + end) % tarfile.RECORDSIZE))
        self._flush()

    def _write_member(self, name: str, content: bytes) -> None:
        self._append(tar_header(name, len(content)))
        self._append(content)
        self._append(_PADDING[: -len(content) % tarfile.BLOCKSIZE])

    def _append(self, data: bytes) -> None:
        self._total += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._output.write(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0


def tar_header(name: str, size: int) -> bytes:
    """Return the header of a regular file with mode 644, no owner and no time."""
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > tarfile.LENGTH_NAME or size >= _MAX_OCTAL_SIZE or not name.isascii():
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    octal_size = b"%011o\0" % size
    checksum = _CONSTANT_SUM + sum(encoded) + sum(octal_size)
    return b"".join(
        (
            encoded.ljust(tarfile.LENGTH_NAME, b"\0"),
            _BEFORE_SIZE, octal_size, _AFTER_SIZE, b"%06o\0 " % checksum, _AFTER_CHECKSUM,
        )
    )  # fmt: skip
