import json

import pytest

from mmfeat.records.media_ref import (
    Base64Ref,
    BytesRef,
    FileRef,
    ParquetCellRef,
    TarMemberRef,
    TextRef,
    known_size,
    ref_extension,
    ref_from_json,
    ref_to_json,
)

PARTS = [
    TextRef("caf\udce9 \n"),
    FileRef("caf\udce9.png"),
    FileRef("http://x/a.PNG?w=1.5", 7),
    TarMemberRef("a.tar", "k.left.jpg", 512, 9),
    ParquetCellRef("t.parquet", 3, "image", "a/b.jpg", "/root/a/b.jpg"),
    Base64Ref("AAAA", "x.wav"),
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_comes_back_from_json_as_it_was(part):
    assert ref_from_json(json.loads(json.dumps(ref_to_json(part)))) == part


def test_the_extension_is_that_of_the_name_without_a_query():
    assert [ref_extension(part) for part in PARTS] == ["", "png", "png", "jpg", "jpg", "wav"]
    assert ref_extension(FileRef("a?b.png")) == "png"
    assert ref_extension(BytesRef(b"", "dir.d/noext")) == ""


def test_sizes_are_told_as_far_as_they_are_known():
    assert [known_size(part) for part in PARTS] == [6 + 2, None, 7, 9, None, 3]
    assert known_size(BytesRef(b"ab")) == 2
