"""Tars: as input, as a stream, and with the table of a store."""

import io
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from mmfeat.errors import RecordError
from mmfeat.media import MediaFetcher
from mmfeat.shards.shard_reader import read_shard
from mmfeat.shards.tar_index import index_tar
from mmfeat.shards.tar_reader import read_tar
from mmfeat.sources import open_source
from tests.fuzz.mutations import mutate_bytes
from tests.fuzz.target import Target
from tests.mmfeat.shards.tar_bytes import END, pax_header, tar_member

_MEMBERS = [
    tar_member("a/k1.jpg", b"picture"),
    tar_member("a/k1.txt", b"words"),
    tar_member("a/k1.json", b'{"n": 1, "label": "x"}'),
    tar_member("a/k1.cls", b"3"),
]
_SEEDS = [
    b"".join(_MEMBERS) + END,
    b"".join([*_MEMBERS, tar_member("k2.left.png"), tar_member("k2.png"), tar_member("k2.pkl")])
    + END,
    pax_header({"path": "k3.jpg", "comment": "x"}) + tar_member("k") + tar_member("k3.txt") + END,
    pax_header({"mtime": "1.5"}, tarfile.XGLTYPE) + tar_member("k4.jpg") + END,
    tar_member("x" * 150 + ".jpg") + tar_member("k6", b"", tarfile.DIRTYPE) + END,
    tar_member("l.jpg") + tar_member("l.txt", b"", tarfile.SYMTYPE, linkname="../x") + END,
    tar_member("././@LongLink", b"long.jpg\0", tarfile.GNUTYPE_LONGNAME) + tar_member("s") + END,
]
_TOKENS = [
    *(bytes([kind]) for kind in b"01234567KLSVXDgx\0"),
    b"ustar\x0000", b"ustar  \0", b"11 path=a.b\n", b"30 size=99999999999999999999\n", b"../",
    b"/",     b"GNU.sparse.major=1", b"GNU.sparse.map=0,1", b"00000000000", b"77777777777",
    b"\x80" + b"\0" * 7, b"\xff" * 12, b".jpg", b".json", b".txt", b".cls",
]  # fmt: skip


def mutate_tar(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Mutate a tar. The headers of most mutants have a valid checksum."""
    data = bytearray(mutate_bytes(random, seeds, tokens))
    if random.randrange(4):
        for start in range(0, len(data) - 511, 512):
            header = data[start : start + 512]
            if b"ustar" in header[250:270]:
                header[148:156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    return bytes(data)


def tar_index(folder: Path) -> Target:
    """The headers of a tar."""
    path = folder / "a.tar"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for sample in index_tar(str(path), Counter()):
            for _, offset, size in sample.members.values():
                assert 0 <= offset <= offset + size <= len(data)

    return Target(read, _SEEDS, _TOKENS, mutate_tar)


def tar_source(folder: Path) -> Target:
    """Records from tars, and the members that they refer to."""
    path = folder / "a.tar"
    fetcher = MediaFetcher(1 << 20)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = open_source(str(path))
        source.describe()
        source.notes()
        for record in source.records():
            for reference in record.media.values():
                with suppress(RecordError):
                    fetcher.fetch(reference)

    return Target(read, _SEEDS[:6], _TOKENS, mutate_tar)


def tar_stream(folder: Path) -> Target:
    """The samples of a tar that is read once."""

    def read(data: bytes) -> None:
        for sample in read_tar(io.BytesIO(data)):
            assert sum(map(len, sample.members.values())) <= len(data)

    errors = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError)
    return Target(read, _SEEDS, _TOKENS, mutate_tar, errors)


def shard(folder: Path) -> Target:
    """The tar of a shard beside its table."""
    rows = [{"__key__": f"a/k{n}", "status": "ok", "image_status": "ok"} for n in (1, 2)]
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    members = [*_MEMBERS, tar_member("a/k2.jpg")]

    def read(data: bytes) -> None:
        for _ in read_shard(io.BytesIO(table.getvalue()), io.BytesIO(data), ["image"]):
            pass

    return Target(read, [b"".join(members) + END], _TOKENS, mutate_tar)
