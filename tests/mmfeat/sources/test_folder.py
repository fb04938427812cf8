import json
import os

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef
from mmfeat.sources import InputOptions, open_source


@pytest.fixture
def folder(tmp_path):
    files = {
        "cat/001.jpg": b"picture",
        "cat/001.txt": b"a cat",
        "cat/001.json": json.dumps({"label": "tabby", "n": 1}).encode(),
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
        "LICENSE": b"",
    }
    for name, content in files.items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "raw"


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def records_of(folder, **options):
    source = open_source(str(folder), InputOptions(**options))
    return {record.key: record for record in source.records()}


def test_files_of_one_stem_are_one_record(folder):
    records = records_of(folder)
    assert set(records) == {"cat/001", "dog/001", "小_v2", "a_k/x", "a", "only", "broken"}
    cat = records["cat/001"]
    assert cat.media["image"] == FileRef(f"{folder}/cat/001.jpg", 7)
    assert cat.media["text"] == FileRef(f"{folder}/cat/001.txt", 5)
    assert cat.metadata == {"label": "tabby", "n": 1}
    assert list(records["dog/001"].parts) == ["image"]
    assert set(records["a"].parts) == {"image", "text"}
    assert records["only"].parts == {}


def test_folders_name_the_label_and_the_split_of_what_they_hold(tmp_path):
    make(
        tmp_path,
        "train/cat/1.jpg",
        "Validation/x/dog/2.wav",
        "dev/3.txt",
        "cat/train/4.jpg",
        "5.jpg",
    )
    told = {key: dict(record.metadata) for key, record in records_of(tmp_path).items()}
    assert told == {
        "train/cat/1": {"split": "train", "label": "cat"},
        "Validation/x/dog/2": {"split": "val", "label": "dog"},
        "dev/3": {"split": "val"},
        "cat/train/4": {"label": "train"},
        "5": {},
    }
    untold = records_of(tmp_path, folder_labels=False)
    assert all(record.metadata == {} for record in untold.values())


def test_a_sidecar_wins_over_the_folder(tmp_path):
    make(tmp_path, "train/cat/1.jpg")
    (tmp_path / "train/cat/1.json").write_text('{"label": "dog"}')
    assert records_of(tmp_path)["train/cat/1"].metadata == {"split": "train", "label": "dog"}


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b"\xff", b"", b"[" * 100_000, b'{"n": 1' + b"0" * 5000 + b"}",
     b'{"x": ' + b"[" * 700 + b"]" * 700 + b"}"],
    ids=range(7),
)  # fmt: skip
def test_a_sidecar_that_is_no_json_costs_the_metadata_and_not_the_picture(folder, content):
    (folder / "broken.json").write_bytes(content)
    broken = records_of(folder)["broken"]
    assert broken.problems["json"][0] == "undecodable" or broken.metadata["x"]
    assert "image" in broken.media


def test_names_in_a_sidecar_that_are_not_unicode_are_spelt_out(folder):
    (folder / "a.json").write_text('{"\\ud800": "\\udce9", "n": NaN}')
    assert records_of(folder)["a"].metadata == {"\\ud800": "\\udce9", "n": None}


def test_two_pictures_of_one_stem_are_two_records_that_share_the_rest(folder):
    (folder / "a.png").write_bytes(b"another")
    records = [r for r in open_source(str(folder)).records() if r.key == "a"]
    assert sorted(r.media["image"].path for r in records) == [
        f"{folder}/a.jpg",
        f"{folder}/a.png",
    ]
    assert {r.media["text"].path for r in records} == {f"{folder}/a.txt"}
    assert len({r.row for r in records}) == 2


def test_of_two_sounds_of_one_stem_the_second_is_not_left_out_unsaid(tmp_path):
    make(tmp_path, "a.flac", "a.wav", "b.wav")
    records = records_of(tmp_path)
    assert records["a"].parts["audio"].path.endswith("a.flac")
    assert records["a"].problems["wav"][0] == "duplicate"
    assert records["b"].problems == {}


def test_rows_are_counted_through_in_an_order_that_stays(folder):
    records = [list(open_source(str(folder)).records()) for _ in range(2)]
    assert records[0] == records[1]
    assert [record.row for record in records[0]] == list(range(len(records[0])))


def test_names_that_no_tar_should_hold_become_keys_that_one_can(tmp_path):
    names = [b"caf\xe9/1.jpg", b" /2.jpg", b"a/ .jpg", b"a:b/c~d.jpg", b"x../y..jpg", b"n\n/z.jpg"]
    for name in names:
        path = os.fsencode(tmp_path) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    records = records_of(tmp_path)
    assert set(records) == {"caf_/1", "_/2", "a/_", "a_b/c_d", "x__/y_", "n/z"}
    assert records["caf_/1"].metadata == {"label": "caf\\udce9"}
    assert records["caf_/1"].parts["image"].path == f"{tmp_path}/caf\udce9/1.jpg"


def test_links_to_folders_pipes_and_broken_links_are_passed_over(tmp_path):
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/2.jpg").symlink_to("gone.jpg")
    (tmp_path / "a/3.jpg").symlink_to("1.jpg")
    os.mkfifo(tmp_path / "a/4.jpg")
    assert set(records_of(tmp_path)) == {"a/1", "a/3"}


def test_files_that_are_no_records_are_told(folder):
    make(folder, "NOTICE", "table.csv")
    (note,) = open_source(str(folder)).notes()
    assert "left out: 1 .csv, 1 .md, 2 without an extension" in note
    assert "name it as INPUT" in note


def test_the_digest_sees_new_files_and_changed_metadata(folder):
    def digest():
        return open_source(str(folder)).describe()["sha256"]

    first = digest()
    assert digest() == first
    (folder / "cat/001.json").write_text('{"label": "dogs!", "n": 1}')
    second = digest()
    (folder / "new.jpg").write_bytes(b"")
    assert len({first, second, digest()}) == 3


def test_a_folder_without_media_and_texts_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(MmfeatError, match="no pictures, sounds or texts"):
        open_source(str(tmp_path))


def test_column_flags_go_with_tables_only(folder):
    with pytest.raises(MmfeatError, match="column flags go with a table"):
        open_source(str(folder), InputOptions({"image": ("file_name",)}))
