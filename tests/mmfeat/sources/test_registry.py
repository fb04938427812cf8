import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef
from mmfeat.sources.base import InputOptions
from mmfeat.sources.folder_source import FolderSource
from mmfeat.sources.registry import open_source
from mmfeat.sources.table_source import TableSource
from tests.mmfeat.sources.tables import write_table


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


def test_column_flags_work_with_a_metadata_table(tmp_path):
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png", "words": "t", "id": "7"}])
    (record,) = open_source(str(tmp_path), InputOptions({"text": ("words",)}, "id")).records()
    assert (record.key, record.media["text"].value) == ("7", "t")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst", "A.TAR.XZ"])
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
