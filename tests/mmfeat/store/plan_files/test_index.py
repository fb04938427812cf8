import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.errors import DamagedFileError
from mmfeat.store.integrity import record_file
from mmfeat.store.plan_files import (
    Piece,
    PlannedShard,
    collect_shards,
    read_plan_index,
    write_plan_index,
)

DIGEST = "0123456789abcdef" * 2


def make_shards(number):
    for index in range(number):
        yield PlannedShard(f"{index:05d}", 7, 1000, Piece(index // 3, index, 9, DIGEST))


@pytest.mark.parametrize("number", [1, 5000])
def test_an_index_is_read_back(tmp_path, number):
    shards = collect_shards(make_shards(number))
    info = write_plan_index(str(tmp_path), shards)
    found = read_plan_index(str(tmp_path), info, number)
    assert found == shards
    assert list(found) == list(make_shards(number))
    assert found[number - 1] == list(make_shards(number))[-1]
    assert (len(found), found.records, found.bytes) == (number, 7 * number, 1000 * number)
    assert found.next_block == (number - 1) // 3 + 1


def test_pieces_can_be_replaced(tmp_path):
    shards = collect_shards(make_shards(5000))
    other = Piece(9, 1, 2, "f" * 32)
    replaced = shards.replace_pieces({4321: other})
    assert [row for row, shard in enumerate(replaced) if shard.piece == other] == [4321]
    assert shards.replace_pieces({}) is shards


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("name", ["00000", "../x"]),
        ("name", ["00000", "00000"]),
        ("name", ["00000", None]),
        ("name", [1, 2]),
        ("offset", [0, -1]),
        ("length", [0, (1 << 53) + 1]),
        ("block", [0.5, 1.5]),
        ("records", [1, None]),
        ("xxh3_128", None),
        ("xxh3_128", [DIGEST, ""]),
        ("xxh3_128", [DIGEST, DIGEST + "\n"]),
        ("xxh3_128", [DIGEST, "g" * 32]),
    ],
)
def test_an_index_with_impossible_values_is_refused(tmp_path, column, values):
    table = collect_shards(make_shards(2)).table
    place = table.schema.get_field_index(column)
    table = table.remove_column(place)
    if values is not None:
        table = table.add_column(place, column, pa.array(values))
    path = tmp_path / "_plan" / "shards.parquet"
    path.parent.mkdir()
    pq.write_table(table, path)
    with pytest.raises(DamagedFileError):
        read_plan_index(str(tmp_path), record_file(str(path)), 2)


def test_an_index_of_other_bytes_or_another_number_of_shards_is_refused(tmp_path):
    info = write_plan_index(str(tmp_path), collect_shards(make_shards(2)))
    with pytest.raises(DamagedFileError, match="3 rows"):
        read_plan_index(str(tmp_path), info, 3)
    path = tmp_path / "_plan" / "shards.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="bytes with another"):
        read_plan_index(str(tmp_path), info, 2)


def test_a_shard_of_a_plan_takes_little_memory():
    collect_shards(make_shards(10))
    tracemalloc.start()
    pool = pa.total_allocated_bytes()
    shards = collect_shards(make_shards(50_000))
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (traced + pa.total_allocated_bytes() - pool) / len(shards) < 200
