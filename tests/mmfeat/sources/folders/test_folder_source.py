import json
import os

import pytest
from fsspec.implementations.local import LocalFileSystem

from mmfeat.errors import MmfeatError
from mmfeat.media import ImageResizer, MediaFetcher
from mmfeat.records.media_ref import FileRef
from mmfeat.sharding.sample_reader import SampleReader
from mmfeat.sources.base import InputOptions
from mmfeat.sources.registry import open_source


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
    assert list(records["dog/001"].media) == ["image"]
    assert set(records["a"].media) == {"image", "text"}
    assert records["only"].media == {}


def test_folders_give_label_and_split(tmp_path):
    make(
        tmp_path,
        "train/cat/1.jpg",
        "Validation/x/dog/2.wav",
        "dev/3.txt",
        "cat/train/4.jpg",
        "5.jpg",
    )
    metadata = {key: dict(record.metadata) for key, record in records_of(tmp_path).items()}
    assert metadata == {
        "train/cat/1": {"split": "train", "label": "cat"},
        "Validation/x/dog/2": {"split": "val", "label": "dog"},
        "dev/3": {"split": "val"},
        "cat/train/4": {"label": "train"},
        "5": {},
    }
    records = records_of(tmp_path, folder_labels=False)
    assert all(record.metadata == {} for record in records.values())


def test_json_takes_precedence_over_folders(tmp_path):
    make(tmp_path, "train/cat/1.jpg")
    (tmp_path / "train/cat/1.json").write_text('{"label": "dog"}')
    assert records_of(tmp_path)["train/cat/1"].metadata == {"split": "train", "label": "dog"}


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b"\xff", b"", b"[" * 100_000, b'{"n": 1' + b"0" * 5000 + b"}",
     b'{"x": ' + b"[" * 700 + b"]" * 700 + b"}"],
    ids=range(7),
)  # fmt: skip
def test_invalid_json_is_a_problem_of_the_metadata_only(folder, content):
    (folder / "broken.json").write_bytes(content)
    broken = records_of(folder)["broken"]
    assert broken.problems["json"][0] in ("undecodable", "too_large")
    assert broken.metadata.get("x") is None
    assert "image" in broken.media


def test_a_value_in_json_that_is_not_unicode_is_null_with_a_reason(folder):
    (folder / "a.json").write_text('{"\\ud800": 1, "x": "\\udce9", "n": NaN}')
    record = records_of(folder)["a"]
    assert record.metadata == {"\\ud800": 1, "x": None, "n": None}
    assert record.problems == {"json": ("undecodable", "not UTF-8: 'x'")}


def test_two_images_of_one_stem_are_two_records(folder):
    (folder / "a.png").write_bytes(b"another")
    records = [r for r in open_source(str(folder)).records() if r.key == "a"]
    assert sorted(r.media["image"].path for r in records) == [
        f"{folder}/a.jpg",
        f"{folder}/a.png",
    ]
    assert {r.media["text"].path for r in records} == {f"{folder}/a.txt"}
    assert len({r.row for r in records}) == 2


def test_a_second_audio_file_of_one_stem_is_a_problem(tmp_path):
    make(tmp_path, "a.flac", "a.wav", "b.wav")
    records = records_of(tmp_path)
    assert records["a"].media["audio"].path.endswith("a.flac")
    assert records["a"].problems["wav"][0] == "duplicate"
    assert records["b"].problems == {}


def test_the_order_of_records_is_stable(folder):
    records = [list(open_source(str(folder)).records()) for _ in range(2)]
    assert records[0] == records[1]
    assert [record.row for record in records[0]] == list(range(len(records[0])))


def test_unsafe_names_become_safe_keys(tmp_path):
    names = [b"caf\xe9/1.jpg", b" /2.jpg", b"a/ .jpg", b"a:b/c~d.jpg", b"x../y..jpg", b"n\n/z.jpg"]
    for name in names:
        path = os.fsencode(tmp_path) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    records = records_of(tmp_path)
    assert set(records) == {"caf_/1", "_/2", "a/_", "a_b/c_d", "x__/y_", "n/z"}
    assert records["caf_/1"].metadata == {"label": None}
    assert records["caf_/1"].problems == {"json": ("undecodable", "not UTF-8: 'label'")}
    assert records["caf_/1"].media["image"].path == f"{tmp_path}/caf\udce9/1.jpg"


def test_linked_folders_are_read_and_loops_are_counted(tmp_path):
    make(tmp_path / "raw", "train/cat/1.jpg")
    make(tmp_path / "store", "bird/1.jpg", "bird/2.jpg")
    raw = tmp_path / "raw"
    (raw / "train/bird").symlink_to("../../store/bird")
    (raw / "train/again").symlink_to("cat")
    (tmp_path / "store/bird/back").symlink_to(raw / "train")
    for number, target in enumerate((raw, raw / "train", tmp_path, "/")):
        (raw / f"train/loop{number}").symlink_to(target)
    source = open_source(str(raw))
    labels = {record.key: record.metadata["label"] for record in source.records()}
    assert labels == {
        "train/cat/1": "cat",
        "train/again/1": "again",
        "train/bird/1": "bird",
        "train/bird/2": "bird",
    }
    (note,) = source.notes()
    assert "5 linked to a folder above" in note


def test_dead_links_and_pipes_are_rejected(tmp_path):
    make(tmp_path, "a/1.jpg", "a/2.txt")
    for name in ("a/2.jpg", "a/2.json", "a/gone.wav"):
        (tmp_path / name).symlink_to("nowhere")
    (tmp_path / "a/3.jpg").symlink_to("1.jpg")
    os.mkfifo(tmp_path / "a/4.jpg")
    os.mkfifo(tmp_path / "a/1.json")
    source = open_source(str(tmp_path))
    reader = SampleReader(source.slots, MediaFetcher(1 << 20), "none", ImageResizer())
    reasons = {record.key: reader.read(record).reason for record in source.records()}
    assert reasons == {
        "a/1": "json:unreadable, audio:missing, text:missing",
        "a/2": "json:not_found, image:not_found, audio:missing",
        "a/3": "audio:missing, text:missing",
        "a/4": "image:unreadable, audio:missing, text:missing",
        "a/gone": "image:missing, audio:not_found, text:missing",
    }


def test_other_links_and_pipes_are_counted(tmp_path):
    make(tmp_path, "1.jpg")
    for name in ("dead", "dead.md", "class"):
        (tmp_path / name).symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (note,) = open_source(str(tmp_path)).notes()
    assert note.endswith("texts: 3 dead link, 1 pipe or device")


def test_a_second_json_file_of_one_stem_is_a_problem(tmp_path):
    make(tmp_path, "a.jpg")
    (tmp_path / "a.JSON").write_text('{"n": 1}')
    (tmp_path / "a.json").write_text('{"n": 2}')
    record = records_of(tmp_path)["a"]
    assert record.metadata == {"n": 1}
    assert record.problems["json"][0] == "duplicate"


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    make(tmp_path, "a/1.jpg", "b/1.jpg")
    list_local = LocalFileSystem.ls

    def refuse(self, path, **options):
        if path.endswith("/b"):
            raise PermissionError(path)
        return list_local(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", refuse)
    with pytest.raises(MmfeatError, match="cannot be listed"):
        open_source(str(tmp_path))


def test_notes_count_the_ignored_files(folder):
    make(folder, "NOTICE", "table.csv")
    (note,) = open_source(str(folder)).notes()
    assert "texts: 1 .csv, 1 .md, 1 hidden, 2 without an extension" in note
    assert "name them as INPUT" in note


def test_types_in_notes_are_few(tmp_path):
    make(tmp_path, "1.jpg", "a.tar.gz", "b.CSV.GZ", ".git/config", ".git/HEAD")
    make(tmp_path, *(f"frame.{number:06}" for number in range(30)), "x.9f86d081884c7d65")
    (note,) = open_source(str(tmp_path)).notes()
    assert note.endswith("texts: 1 .csv.gz, 1 .tar.gz, 1 hidden, 31 of other types")


def test_the_digest_depends_on_files_and_metadata(folder):
    def digest():
        return open_source(str(folder)).describe()["sha256"]

    first = digest()
    assert digest() == first
    (folder / "cat/001.json").write_text('{"label": "dogs!", "n": 1}')
    second = digest()
    (folder / "new.jpg").write_bytes(b"")
    assert len({first, second, digest()}) == 3


def test_a_folder_without_media_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(MmfeatError, match="no images, audio or texts"):
        open_source(str(tmp_path))


def test_column_flags_need_a_table(folder):
    with pytest.raises(MmfeatError, match="column flags need a table"):
        open_source(str(folder), InputOptions({"image": ("file_name",)}))
