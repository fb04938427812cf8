"""Bytes of tars, member by member, also invalid ones."""

import tarfile

END = b"\0" * 1024
"""The end mark of a tar."""


def padded(data):
    """Data with zeros up to the next block."""
    return data + b"\0" * (-len(data) % 512)


def tar_member(name, content=b"x", kind=tarfile.REGTYPE, **fields):
    """A member: its header and its content."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + padded(content)


def pax_header(records, kind=tarfile.XHDTYPE):
    """A PAX header with the given records."""
    lines = b""
    for name, value in records.items():
        line = f" {name}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        lines += str(length).encode() + line
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(lines)
    return info.tobuf(tarfile.USTAR_FORMAT) + padded(lines)


def with_size_field(header, field):
    """A header with another size field and a valid checksum."""
    header = bytearray(header)
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)
