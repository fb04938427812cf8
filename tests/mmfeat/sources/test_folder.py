import json

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.sources import open_source


@pytest.fixture
def folder(tmp_path):
    files = {
        "cat/001.jpg": b"picture",
        "cat/001.txt": b"a cat",
        "cat/001.json": json.dumps({"label": "cat", "n": 1}).encode(),
        "dog/001.PNG": b"picture",
        "小.v2.jpg": b"picture",
        "小.v2.txt": "小".encode(),
        "a.k/x.txt": b"in a folder named like a file",
        "a.jpg": b"picture",
        "a.txt": b"beside a.k",
        "only.json": b"{}",
        "broken.jpg": b"picture",
        "broken.json": b"{",
        ".hidden.jpg": b"",
        "README.md": b"",
    }
    for name, content in files.items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "raw"


def records_of(folder):
    return {record.key: record for record in open_source(str(folder), {}).records()}


def test_files_of_one_stem_are_one_record(folder):
    records = records_of(folder)
    assert set(records) == {"cat/001", "dog/001", "小_v2", "a_k/x", "a", "only", "broken"}
    cat = records["cat/001"]
    assert cat.parts["image"].path == "cat/001.jpg"
    assert cat.parts["text"].path == "cat/001.txt"
    assert cat.metadata == {"label": "cat", "n": 1}
    assert list(records["dog/001"].parts) == ["image"]
    assert set(records["a"].parts) == {"image", "text"}
    assert records["only"].parts == {}


def test_a_sidecar_that_is_no_json_costs_the_metadata_and_not_the_picture(folder):
    broken = records_of(folder)["broken"]
    assert broken.problems["json"][0] == "undecodable"
    assert "image" in broken.parts


def test_two_pictures_of_one_stem_are_two_records_that_share_the_rest(folder):
    (folder / "a.png").write_bytes(b"another")
    records = [r for r in open_source(str(folder), {}).records() if r.key == "a"]
    assert sorted(r.parts["image"].path for r in records) == ["a.jpg", "a.png"]
    assert {r.parts["text"].path for r in records} == {"a.txt"}
    assert len({r.row for r in records}) == 2


def test_files_that_are_no_records_are_told(folder):
    (note,) = open_source(str(folder), {}).notes()
    assert "left out: 1 .md" in note


def test_the_digest_sees_new_files_and_changed_metadata(folder):
    def digest():
        return open_source(str(folder), {}).describe()["sha256"]

    first = digest()
    assert digest() == first
    (folder / "cat/001.json").write_text('{"label": "dog", "n": 1}')
    second = digest()
    (folder / "new.jpg").write_bytes(b"")
    assert len({first, second, digest()}) == 3


def test_a_folder_without_pictures_and_texts_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(MmfeatError, match="no pictures and no texts"):
        open_source(str(tmp_path), {})


def test_column_flags_go_with_tables_only(folder):
    with pytest.raises(MmfeatError, match="column flags go with a table"):
        open_source(str(folder), {"image": "file_name"})
