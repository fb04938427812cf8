import json

import pytest

from mmfeat.records.media_ref import (
    Base64,
    Cell,
    Content,
    File,
    Member,
    Text,
    dump_part,
    extension_of,
    load_part,
    size_of,
)

PARTS = [
    Text("caf\udce9 \n"),
    File("caf\udce9.png"),
    File("http://x/a.PNG?w=1.5", 7),
    Member("a.tar", "k.left.jpg", 512, 9),
    Cell("t.parquet", 3, "image", "a/b.jpg", "/root/a/b.jpg"),
    Base64("AAAA", "x.wav"),
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_comes_back_from_json_as_it_was(part):
    assert load_part(json.loads(json.dumps(dump_part(part)))) == part


def test_the_extension_is_that_of_the_name_without_a_query():
    assert [extension_of(part) for part in PARTS] == ["", "png", "png", "jpg", "jpg", "wav"]
    assert extension_of(File("a?b.png")) == "png"
    assert extension_of(Content(b"", "dir.d/noext")) == ""


def test_sizes_are_told_as_far_as_they_are_known():
    assert [size_of(part) for part in PARTS] == [6 + 2, None, 7, 9, None, 3]
    assert size_of(Content(b"ab")) == 2
