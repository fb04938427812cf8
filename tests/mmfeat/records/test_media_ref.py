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

REFS = [
    TextRef("caf\udce9 \n"),
    FileRef("caf\udce9.png"),
    FileRef("http://x/a.PNG?w=1.5", 7),
    TarMemberRef("a.tar", "k.left.jpg", 512, 9),
    ParquetCellRef("t.parquet", 3, "image", "a/b.jpg", "/root/a/b.jpg"),
    Base64Ref("AAAA", "x.wav"),
]


@pytest.mark.parametrize("ref", REFS)
def test_references_survive_json(ref):
    assert ref_from_json(json.loads(json.dumps(ref_to_json(ref)))) == ref


def test_the_names_of_references_in_json_do_not_change():
    assert {ref_to_json(ref)[0] for ref in REFS} == {"Text", "File", "Member", "Cell", "Base64"}


def test_the_extension_comes_from_the_name_without_a_query():
    assert [ref_extension(ref) for ref in REFS] == ["", "png", "png", "jpg", "jpg", "wav"]
    assert ref_extension(FileRef("a?b.png")) == "png"
    assert ref_extension(BytesRef(b"", "dir.d/noext")) == ""


def test_known_sizes():
    assert [known_size(ref) for ref in REFS] == [6 + 2, None, 7, 9, None, 3]
    assert known_size(BytesRef(b"ab")) == 2
