import pytest

from mmfeat.errors import MmfeatError
from mmfeat.records.media_ref import FileRef, TextRef
from mmfeat.sources.tables import table_columns
from tests.mmfeat.sources.tables.table_inputs import (
    source_of,
    write_csv,
    write_json_lines,
    write_parquet,
)


def test_columns_are_found_by_conventional_names(tmp_path):
    write_csv(tmp_path / "t.csv", [{"Caption": "words", "Image_Path": "a.png", "n": "1"}])
    (record,) = source_of(tmp_path / "t.csv").records()
    assert record.media == {"image": FileRef(str(tmp_path / "a.png")), "text": TextRef("words")}


def test_paths_give_the_modality_of_their_column(tmp_path):
    write_csv(tmp_path / "a.csv", [{"file_name": ""}, {"file_name": "x.WAV"}])
    assert source_of(tmp_path / "a.csv").slots == ("audio",)
    write_csv(tmp_path / "b.csv", [{"path": "x.flac", "image": "y.png", "sentence": "z"}])
    assert source_of(tmp_path / "b.csv").slots == ("image", "audio", "text")
    write_csv(tmp_path / "c.csv", [{"url": "http://x/y.mp3?a=b.png"}])
    assert source_of(tmp_path / "c.csv").slots == ("audio",)


def test_paths_may_begin_in_a_later_file(tmp_path):
    (tmp_path / "0.csv").write_text("file_name,caption\n")
    write_csv(tmp_path / "1.csv", [{"file_name": "", "caption": "x"}] * 3)
    write_csv(tmp_path / "2.csv", [{"file_name": "a.wav", "caption": "y"}])
    source = source_of(tmp_path / "{0,1,2}.csv")
    assert source.slots == ("audio", "text")
    assert [list(record.media) for record in source.records()] == [["text"]] * 3 + [
        ["audio", "text"]
    ]


def test_paths_may_begin_after_many_rows_without_a_value(tmp_path):
    rows = [{"file_name": "", "caption": "x"}] * (table_columns._SNIFFED_VALUES + 1)
    write_csv(tmp_path / "t.csv", [*rows, {"file_name": "a.wav", "caption": "y"}])
    assert source_of(tmp_path / "t.csv").slots == ("audio", "text")


def test_a_limited_number_of_values_is_read_for_their_modality(tmp_path, monkeypatch):
    monkeypatch.setattr(table_columns, "_SNIFFED_VALUES", 2)
    rows = [{"file_name": name} for name in ("", "a", "b", "c.wav")]
    write_csv(tmp_path / "t.csv", rows)
    assert source_of(tmp_path / "t.csv").slots == ("image",)


def test_paths_in_a_column_with_an_unknown_name_give_a_hint(tmp_path):
    rows = [{"front pic": f"https://h/{n}.jpg?w=1", "snd": "a.wav", "n": "see a.png"} for n in "ab"]
    rows[1]["n"] = "no path"
    write_csv(tmp_path / "t.csv", rows)
    hint = r"'front pic' has paths: --image-column 'front pic' reads them; column 'snd' has paths"
    with pytest.raises(MmfeatError, match=hint):
        source_of(tmp_path / "t.csv")
    write_csv(tmp_path / "u.csv", [row | {"text": "x"} for row in rows])
    notes = source_of(tmp_path / "u.csv").notes()
    assert "column 'front pic' has paths: --image-column 'front pic' reads them" in notes
    assert not any("column 'n'" in note for note in notes)


def test_texts_in_a_column_with_an_unknown_name_give_a_hint(tmp_path):
    rows = [
        {
            "pic": f"{number}.jpg",
            "Was es ist": f"Eine Tasse der Größe {number}, aus Ton gebrannt",
            "kind": "a class of more than thirty letters",
            "day": f"2024-01-0{number} 10:00:00 and 0{number} seconds",
            "page": f"https://example.com/ a page about the number {number}",
            "more": f'{{"a document": "with some words and number {number}"}}',
        }
        for number in range(1, 5)
    ]
    write_csv(tmp_path / "t.csv", rows)
    hint = "column 'Was es ist' has texts: --text-column 'Was es ist' reads them"
    with pytest.raises(MmfeatError, match=f"--image-column pic reads them; {hint}"):
        source_of(tmp_path / "t.csv")
    assert hint in source_of(tmp_path / "t.csv", image="pic").notes()
    notes = source_of(tmp_path / "t.csv", image="pic", text="kind").notes()
    assert not any("has texts" in note for note in notes)


def test_columns_without_texts_give_no_hint(tmp_path):
    others = {
        "day": "2024-01-01 10:00:00.000000+00:00",
        "kind": "a class of more than thirty letters",
    }
    write_csv(tmp_path / "t.csv", [others | {"image": f"{number}.png"} for number in range(4)])
    assert source_of(tmp_path / "t.csv").notes() == ["image = column 'image'"]


def test_other_paths_beside_a_known_column_give_no_hint(tmp_path):
    write_csv(tmp_path / "t.csv", [{"image": "a.png", "original": "b.png", "notes": "c.txt"}])
    assert source_of(tmp_path / "t.csv").notes() == ["image = column 'image'"]


def test_a_record_may_have_several_images(tmp_path):
    write_csv(tmp_path / "t.csv", [{"image": "a.png", "l": "l.png", "x=y": "r.png", "s": "c.wav"}])
    source = source_of(tmp_path / "t.csv", image="image left=l right=x=y")
    (record,) = source.records()
    assert source.slots == ("image", "image.left", "image.right")
    assert record.media["image.left"] == FileRef(str(tmp_path / "l.png"))
    assert record.media["image.right"] == FileRef(str(tmp_path / "r.png"))
    assert record.metadata == {"image": "a.png", "l": "l.png", "x=y": "r.png", "s": "c.wav"}
    with pytest.raises(MmfeatError, match="given twice"):
        source_of(tmp_path / "t.csv", image="image l")


def test_unknown_columns_are_refused_with_a_suggestion(tmp_path):
    write_csv(tmp_path / "t.csv", [{"text": "a", "title": "b", "file_name": "x.png"}])
    (record,) = source_of(tmp_path / "t.csv", text="title").records()
    assert record.media["text"].value == "b"
    with pytest.raises(MmfeatError, match=r"got 'titel'.*Did you mean 'title'\?.*text, title"):
        source_of(tmp_path / "t.csv", text="titel")
    with pytest.raises(MmfeatError, match="--key-column must name a column"):
        source_of(tmp_path / "t.csv", key="id")


@pytest.mark.parametrize("name", ["rück", "left-side", ""])
def test_a_part_with_another_than_an_ascii_name_is_refused(name, tmp_path):
    write_csv(tmp_path / "t.csv", [{"front": "a.png", "Rückseite": "b.png"}])
    with pytest.raises(MmfeatError, match="NAME of ASCII letters, digits and _") as caught:
        source_of(tmp_path / "t.csv", image=f"front {name}=Rückseite")
    assert "--image-column left=Rückseite" in str(caught.value)


def test_a_table_without_media_is_refused(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": "1", "b": "2"}])
    with pytest.raises(MmfeatError, match="no column of images, audio or text"):
        source_of(tmp_path / "t.csv")


def test_keys_come_from_the_key_column(tmp_path):
    write_json_lines(tmp_path / "t.jsonl", [{"text": "x", "id": "v1.2"}, {"text": "y", "id": 7}])
    assert [r.key for r in source_of(tmp_path / "t.jsonl", key="id").records()] == ["v1_2", "7"]


def test_a_key_column_of_bytes_is_refused(tmp_path):
    write_parquet(tmp_path / "t.parquet", [{"raw": {"bytes": b"z", "path": "z"}, "caption": "x"}])
    with pytest.raises(MmfeatError, match="--key-column must hold texts or numbers; got 'raw'"):
        source_of(tmp_path / "t.parquet", key="raw")
