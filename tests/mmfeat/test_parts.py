import pytest

from mmfeat.parts import PartReader
from mmfeat.sample import REASONS, Part, Record


@pytest.fixture
def read(tmp_path):
    def run(validation="header", max_bytes=10_000, modalities=("image", "text"), **parts):
        reader = PartReader(str(tmp_path), modalities, validation, max_bytes)
        return reader.read(Record(0, "k", {m: Part(**part) for m, part in parts.items()}))

    return run


def problems(sample):
    assert all(reason in REASONS for reason, _ in sample.problems.values())
    return {name: reason for name, (reason, _) in sample.problems.items()}


def test_a_whole_record_has_a_member_for_each_modality(read, tmp_path, picture):
    (tmp_path / "a.PNG").write_bytes(picture())
    sample = read(image={"path": "a.PNG"}, text={"value": " two words "})
    assert sample.members == {"png": picture(), "txt": b" two words "}
    assert not sample.problems
    assert sample.reason is None
    assert sample.error is None


def test_each_trouble_has_its_word(read, tmp_path, picture):
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "cut.png").write_bytes(picture(size=64)[:60])
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "large.png").write_bytes(b"x" * 10_001)
    (tmp_path / "folder.png").mkdir()
    troubles = {
        "page.png": "undecodable",
        "zero.png": "empty",
        "large.png": "too_large",
        "folder.png": "unreadable",
        "gone.png": "not_found",
        "../a.png": "outside",
        "a/../../a.png": "outside",
        "nul\0.png": "unreadable",
    }
    seen = {path: problems(read(image={"path": path}, text={"value": "x"})) for path in troubles}
    assert seen == {path: {"image": reason} for path, reason in troubles.items()}
    assert problems(read("decode", image={"path": "cut.png"})) == {
        "image": "undecodable",
        "text": "missing",
    }


def test_without_validation_bytes_are_taken_as_they_are(read, tmp_path):
    (tmp_path / "page.png").write_text("<html>404</html>")
    sample = read("none", modalities=("image",), image={"path": "page.png"})
    assert sample.members == {"png": b"<html>404</html>"}


def test_a_blank_or_broken_text_is_no_text(read, tmp_path):
    assert problems(read(modalities=("text",), text={"value": " \n"})) == {"text": "empty"}
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    assert problems(read(modalities=("text",), text={"path": "a.txt"})) == {"text": "undecodable"}


def test_a_picture_without_a_telling_suffix_is_named_after_its_format(read, tmp_path, picture):
    (tmp_path / "a").write_bytes(picture(kind="JPEG"))
    assert list(read(modalities=("image",), image={"path": "a"}).members) == ["jpeg"]


def test_reason_and_error_say_which_part_and_why(read):
    sample = read(image={"path": "gone.png"})
    assert sample.reason == "image:not_found, text:missing"
    assert sample.error == "image:not_found: gone.png"
