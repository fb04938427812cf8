import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.storage import files
from mmfeat.store.plan_files import BlockWriter, Piece, read_piece
from mmfeat.store.plan_files.blocks import block_path

CONTENTS = [b"a\n", b"", b"bb\ncc\n", b"d" * 40, b"e\n"]


def write(folder, contents, **options):
    with BlockWriter(folder, **options) as writer:
        return [writer.write([c[:1], c[1:]]) for c in contents]


@pytest.mark.parametrize("store", ["local", "memory://plan-blocks"])
@pytest.mark.parametrize("block_bytes", [1, 8, 1 << 20])
def test_pieces_are_read_back_from_blocks_of_bounded_size(tmp_path, store, block_bytes):
    folder = str(tmp_path) if store == "local" else f"{store}/{block_bytes}"
    pieces = write(folder, CONTENTS, first_block=3, block_bytes=block_bytes)
    assert [read_piece(folder, piece) for piece in pieces] == CONTENTS
    assert [Piece.decode(piece.encode()) for piece in pieces] == pieces
    blocks = sorted({piece.block for piece in pieces})
    assert blocks == list(range(3, 3 + len(blocks)))
    assert files.list_names(f"{folder}/_plan") == [f"block-{n:05d}.jsonl" for n in blocks]
    for block in blocks[:-1]:
        last = max(piece for piece in pieces if piece.block == block)
        assert last.offset < block_bytes <= last.offset + last.length


def test_a_writer_without_pieces_writes_nothing(tmp_path):
    assert write(str(tmp_path), []) == []
    assert not list(tmp_path.iterdir())


def test_a_block_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(OSError, match="full"), BlockWriter(str(tmp_path)) as writer:
        writer.write([b"a"])
        raise OSError("full")
    assert not list((tmp_path / "_plan").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:3]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"b", b"c")),
        lambda path: path.unlink(),
    ],
    ids=["cut", "changed", "gone"],
)
def test_a_damaged_piece_is_refused_with_the_cure(tmp_path, change):
    folder = str(tmp_path)
    pieces = write(folder, CONTENTS)
    change(tmp_path / "_plan" / "block-00000.jsonl")
    with pytest.raises(DamagedFileError, match=r"mmfeat verify --fix") as error:
        read_piece(folder, pieces[2])
    assert block_path(folder, 0) in error.value.rule


@pytest.mark.parametrize("piece", [Piece(0, 0, 1 << 53, "0" * 32), Piece(0, 1 << 52, 9, "0" * 32)])
def test_a_piece_of_absurd_size_takes_no_memory(tmp_path, piece):
    write(str(tmp_path), CONTENTS)
    with pytest.raises(DamagedFileError):
        read_piece(str(tmp_path), piece)
