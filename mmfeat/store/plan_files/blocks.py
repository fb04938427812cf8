"""Blocks: the records of many planned shards in one file, so that no shard needs a file of its own.

OUTPUT/_plan/block-00000.jsonl    the pieces of shards, one after the other
"""

import os
import shlex
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

import xxhash

from mmfeat.errors import DamagedFileError
from mmfeat.storage import OutputFile, files
from mmfeat.store.directory import PLAN_FOLDER

BLOCK_BYTES = 64 << 20
"""Size from which on no further shard is added to a block."""


class Piece(NamedTuple):
    """Where the records of a shard are.

    Attributes:
        block: number of the block.
        offset: bytes of the block before the piece.
        length: bytes of the piece.
        xxh3_128: digest of the piece, in hexadecimal digits.
    """

    block: int
    offset: int
    length: int
    xxh3_128: str

    def encode(self) -> str:
        """Return the piece as one text. There may be millions: a text takes the least memory."""
        return f"{self.block} {self.offset} {self.length} {self.xxh3_128}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the piece of a text of `encode`."""
        block, offset, length, digest = text.split(" ")
        return cls(int(block), int(offset), int(length), digest)


def block_path(folder: str, block: int) -> str:
    """Return the path of a block of a store's plan."""
    return files.join(folder, PLAN_FOLDER, f"block-{block:05d}.jsonl")


class BlockWriter:
    """Writes pieces to blocks. A block is on disk when the next one begins, or the writer ends.

    Args:
        folder: the store.
        first_block: number of the first block.
        block_bytes: size from which on no further piece is added to a block.
    """

    def __init__(self, folder: str, first_block: int = 0, block_bytes: int = BLOCK_BYTES) -> None:
        self._folder, self._block, self._block_bytes = folder, first_block, block_bytes
        self._opened = ExitStack()
        self._output: OutputFile | None = None

    def write(self, parts: Iterable[bytes]) -> Piece:
        """Write a piece, part by part."""
        if self._output is None:
            path = block_path(self._folder, self._block)
            self._output = self._opened.enter_context(files.create(path))
        offset, digest = self._output.bytes, xxhash.xxh3_128()
        for part in parts:
            digest.update(part)
            self._output.write(part)
        end = self._output.bytes
        piece = Piece(self._block, offset, end - offset, digest.hexdigest())
        if end >= self._block_bytes:
            self._opened.close()
            self._output = None
            self._block += 1
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.__exit__(kind, error, traceback)


def read_piece(folder: str, piece: Piece) -> bytes:
    """Read a piece of a store's plan, with one request.

    Raises:
        DamagedFileError: the block is missing, too short, or has other bytes.
    """
    path = block_path(folder, piece.block)
    try:
        data = files.read_range(path, piece.offset, piece.length)
    except (FileNotFoundError, NotADirectoryError):
        raise damaged_plan(folder, f"{path} must exist") from None
    if len(data) != piece.length or xxhash.xxh3_128_hexdigest(data) != piece.xxh3_128:
        rule = f"{path} must have the bytes of its plan from {piece.offset:,} on"
        raise damaged_plan(folder, rule, os.path.basename(path))
    return data


def damaged_plan(folder: str, rule: str, got: object = None) -> DamagedFileError:
    """Return the error that a plan is damaged. Planning again gives the same plan."""
    command = f"mmfeat verify --fix {shlex.quote(folder)}"
    cure = f"Run {command}, then the same command again: it plans again"
    return DamagedFileError(rule, got=got, cure=cure)
