import tarfile

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef
from mmfeat.sources.base import InputOptions
from mmfeat.sources.folders.folder_source import FolderSource
from mmfeat.sources.folders.ignored_files import ignored_files_notes
from mmfeat.sources.registry import open_source
from mmfeat.sources.tables.table_source import TableSource
from mmfeat.sources.tars.tar_source import TarSource
from tests.mmfeat.sources.tables.table_inputs import write_table


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_folder_with_a_metadata_table(tmp_path, suffix):
    write_table(tmp_path / f"metadata.{suffix}", [{"file_name": "x/a.png", "text": "t"}])
    (tmp_path / "left-out.png").write_bytes(b"")
    (record,) = open_source(f"{tmp_path}/").records()
    assert record.media["image"] == FileRef(f"{tmp_path}/x/a.png")
    assert record.metadata == {"file_name": "x/a.png"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_metadata_tables_in_folders_of_splits(tmp_path, suffix):
    for folder in ("train", "Test", "other"):
        rows = [
            {"file_name": "a.wav", "split": "own"} if folder == "other" else {"file_name": "a.wav"}
        ]
        write_table(tmp_path / folder / f"metadata.{suffix}", rows)
    source = open_source(str(tmp_path))
    first, second = source.records()
    assert source.slots == ("audio",)
    assert (first.row, first.media["audio"].path) == (0, f"{tmp_path}/Test/a.wav")
    assert (second.row, second.media["audio"].path) == (1, f"{tmp_path}/train/a.wav")
    assert [r.metadata["split"] for r in (first, second)] == ["test", "train"]


def test_a_split_column_takes_precedence_over_the_folder(tmp_path):
    write_table(tmp_path / "train/metadata.csv", [{"file_name": "a.png", "split": "mine"}])
    (record,) = open_source(str(tmp_path)).records()
    assert record.metadata["split"] == "mine"


def test_a_folder_of_parquet_tables_is_one_table(tmp_path):
    for number in (1, 0):
        write_table(tmp_path / f"train-{number}.parquet", [{"text": str(number)}])
    assert [r.media["text"].value for r in open_source(str(tmp_path)).records()] == ["0", "1"]
    (tmp_path / "a.png").write_bytes(b"")
    assert isinstance(open_source(str(tmp_path)), FolderSource)


def notes_of(folder):
    return ignored_files_notes(open_source(str(folder)))


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write_tar(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))


def test_a_tar_beside_more_images_is_counted(tmp_path):
    make(tmp_path, "a.png", "b.wav")
    write_tar(tmp_path / "backup.tar", "k.txt")
    source = open_source(str(tmp_path))
    assert {record.key for record in source.records()} == {"a", "b"}
    (note,) = source.notes()
    assert "1 .tar; to use tables or tars, name them" in note
    assert ignored_files_notes(source) == []


def test_files_beside_tars_are_counted(tmp_path):
    write_tar(tmp_path / "00000.TAR", "k.txt")
    write_tar(tmp_path / "00001.tar", "l.txt")
    write_table(tmp_path / "00001.parquet", [{"key": "l"}])
    make(tmp_path, "00001_stats.json", "00002.tar.gz", "00003.parquet", "look.png", "more/b.png")
    (tmp_path / "old.tar").mkdir()
    source = open_source(str(tmp_path))
    assert isinstance(source, TarSource)
    assert [record.key for record in source.records()] == ["k", "l"]
    assert ignored_files_notes(source) == [
        f"ignored files of {tmp_path} that are no tars: 1 .parquet, 2 .png, 1 .tar.gz; "
        "decompress tars to read them"
    ]


def test_a_store_is_tars_even_beside_images_and_has_no_ignored_files(tmp_path):
    write_tar(tmp_path / "00000.tar", "k.txt")
    for name in ("config.json", "manifest.json", "00000_stats.json"):
        (tmp_path / name).write_text("{}")
    assert notes_of(tmp_path) == []
    make(tmp_path, "a.png", "b.png")
    assert isinstance(open_source(str(tmp_path)), TarSource)


def test_files_that_no_row_of_a_metadata_table_names_are_counted(tmp_path):
    rows = [{"file_name": name} for name in ("a.png", "x/../b/b.png", f"{tmp_path}/c.png", "gone")]
    write_table(tmp_path / "metadata.csv", rows)
    write_table(tmp_path / "metadata.jsonl", rows)
    write_table(tmp_path / "b/metadata.csv", rows)
    make(tmp_path, "a.png", "b/b.png", "c.png", "d.png", "b/e.png", "a.txt", "e\nf.png", ".x")
    write_tar(tmp_path / "images.tar", "a.png")
    source = open_source(str(tmp_path))
    assert isinstance(source, TableSource)
    types = "3 .png, 1 .tar, 1 .txt, 1 hidden, 1 metadata.csv, 1 metadata.jsonl"
    assert ignored_files_notes(source) == [
        f"ignored files of {tmp_path} that no row names: {types}"
    ]


def test_files_outside_the_metadata_tables_of_splits_are_counted(tmp_path, monkeypatch):
    for split in ("train", "test"):
        write_table(tmp_path / "raw" / split / "metadata.csv", [{"file_name": "a.png"}])
        make(tmp_path / "raw" / split, "a.png", "b.png")
    make(tmp_path / "raw", "other/c.png", "LICENSE")
    monkeypatch.chdir(tmp_path)
    types = "3 .png, 1 without an extension"
    assert notes_of("raw") == [f"ignored files of raw that no row names: {types}"]


def test_a_metadata_table_without_files_leaves_the_tars_beside_it(tmp_path):
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png", "text": "t"}])
    write_tar(tmp_path / "images.tar", "a.png")
    assert isinstance(open_source(str(tmp_path)), TarSource)
    types = "1 metadata.csv"
    assert notes_of(tmp_path) == [f"ignored files of {tmp_path} that are no tars: {types}"]


def test_a_readme_does_not_hide_parquet_tables(tmp_path):
    write_table(tmp_path / "train-0.parquet", [{"text": "0"}])
    make(tmp_path, "README.md", ".gitattributes")
    assert isinstance(open_source(str(tmp_path)), TableSource)
    types = "1 .md, 1 hidden"
    assert notes_of(tmp_path) == [f"ignored files of {tmp_path} that no row names: {types}"]


def test_a_folder_without_media_is_refused_with_what_it_holds(tmp_path):
    write_tar(tmp_path / "more/a.tar", "k.txt")
    make(tmp_path, "a.csv")
    with pytest.raises(MmfeatError, match=r"no images.*1 \.csv, 1 \.tar"):
        open_source(str(tmp_path))
    make(tmp_path, "00000.tar.gz")
    with pytest.raises(MmfeatError, match="tars must not be compressed"):
        open_source(str(tmp_path))


def test_column_flags_work_with_a_metadata_table(tmp_path):
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png", "words": "t", "id": "7"}])
    (record,) = open_source(str(tmp_path), InputOptions({"text": ("words",)}, "id")).records()
    assert (record.key, record.media["text"].value) == ("7", "t")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst", "A.TAR.XZ", "a.tbz2"])
def test_compressed_tars_are_refused(tmp_path, name):
    with pytest.raises(MmfeatError, match="tars must not be compressed"):
        open_source(str(tmp_path / name))


def test_tars_and_tables_cannot_be_one_input(tmp_path):
    with pytest.raises(MmfeatError, match="cannot be one input"):
        open_source(f"{tmp_path}/{{a.tar,b.csv}}")


def test_missing_and_empty_inputs_are_refused(tmp_path):
    for name in ("gone.tar", "gone.csv", "{a,b}.tar"):
        with pytest.raises(MmfeatError, match="no such file"):
            open_source(str(tmp_path / name))
    for suffix in ("", ".csv", ".tar"):
        (tmp_path / f"entries{suffix}").touch()
        with pytest.raises(MmfeatError, match=f"Did you mean '{tmp_path}/entries{suffix}'"):
            open_source(str(tmp_path / f"entreis{suffix}"))
    with pytest.raises(MmfeatError, match="no images, audio or texts"):
        (tmp_path / "empty").mkdir()
        open_source(str(tmp_path / "empty"))


def test_unfinished_shards_are_refused(tmp_path):
    (tmp_path / "00000.tar").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MmfeatError, match="not finished"):
        open_source(str(tmp_path))


def test_a_folder_may_have_the_name_of_a_table(tmp_path):
    (tmp_path / "t.csv").mkdir()
    (tmp_path / "t.csv" / "a.png").write_bytes(b"")
    assert isinstance(open_source(str(tmp_path / "t.csv")), FolderSource)
    write_table(tmp_path / "u.csv", [{"text": "a"}])
    assert isinstance(open_source(str(tmp_path / "u.csv")), TableSource)
