import base64
import io

import pytest
import soundfile
from PIL import Image

from mmfeat.media.fetch import ContentReader
from mmfeat.media.resize import Reencoding
from mmfeat.records.media_ref import Base64Ref, BytesRef, FileRef, TarMemberRef, TextRef
from mmfeat.records.record import REASONS, Record
from mmfeat.sharding.sample_reader import PartReader


@pytest.fixture
def read():
    def run(parts, validation="header", slots=("image", "text"), problems=None, **encoding):
        reader = PartReader(slots, ContentReader(10_000), validation, Reencoding(**encoding))
        return reader.read(Record(0, "k", parts, problems=problems or {}))

    return run


def sound(format="WAV"):
    file = io.BytesIO()
    soundfile.write(file, [0.0, 0.1] * 400, 8000, format=format)
    return file.getvalue()


def problems(sample):
    assert all(reason in REASONS for reason, _ in sample.problems.values())
    return {name: reason for name, (reason, _) in sample.problems.items()}


def test_a_whole_record_has_a_member_for_each_slot(read, picture):
    parts = {
        "image": BytesRef(picture(), "a.PNG"),
        "image.left": BytesRef(picture(kind="JPEG"), "b.jpg"),
        "audio": BytesRef(sound(), "c.wav"),
        "text": TextRef(" two words "),
        "text.alt": TextRef("other"),
    }
    sample = read(parts, slots=tuple(parts))
    assert sample.members == {
        "png": picture(),
        "left.jpg": picture(kind="JPEG"),
        "wav": sound(),
        "txt": b" two words ",
        "alt.txt": b"other",
    }
    assert set(sample.sha256) == {"image", "image.left", "audio"}
    assert (sample.problems, sample.reason, sample.error) == ({}, None, None)


def test_each_trouble_has_its_word(read, picture, tmp_path):
    troubles = {
        "page.png": (b"<html>404</html>", "undecodable"),
        "zero.png": (b"", "empty"),
        "large.png": (b"x" * 10_001, "too_large"),
        "sound.png": (sound(), "undecodable"),
    }
    for name, (content, reason) in troubles.items():
        sample = read({"image": BytesRef(content, name), "text": TextRef("x")})
        assert problems(sample) == {"image": reason}, name
    cut = {"image": BytesRef(picture(size=64)[:90], "cut.png")}
    assert problems(read(cut, "decode")) == {"image": "undecodable", "text": "missing"}
    swapped = read({"audio": BytesRef(picture(), "a.wav")}, slots=("audio",))
    assert problems(swapped) == {"audio": "undecodable"}


def test_what_is_known_to_be_wrong_is_not_read(read):
    gone = {"image": FileRef("/nowhere/a.png"), "text": TextRef("x")}
    sample = read(gone, problems={"image": ("duplicate", "as b")})
    assert (problems(sample), list(sample.members)) == ({"image": "duplicate"}, ["txt"])
    assert read(gone, problems={"": ("malformed_row", "")}).members == {}


def test_without_validation_bytes_are_taken_as_they_are(read):
    sample = read({"image": BytesRef(b"<html>", "page.png")}, "none", ("image",))
    assert sample.members == {"png": b"<html>"}
    assert list(read({"image": BytesRef(b"x", "page")}, "none", ("image",)).members) == ["img"]


def test_a_blank_or_broken_text_is_no_text(read):
    assert problems(read({"text": TextRef(" \n")}, slots=("text",))) == {"text": "empty"}
    latin = {"text": BytesRef(b"caf\xe9", "a.txt")}
    assert problems(read(latin, slots=("text",))) == {"text": "undecodable"}


@pytest.mark.parametrize(
    ("kind", "extension"), [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp")]
)
def test_a_picture_without_a_telling_suffix_is_named_after_its_format(
    read, picture, kind, extension
):
    content = picture(kind=kind)
    for part in (BytesRef(content, "a"), BytesRef(content, "a.php"), BytesRef(content, "a.wav")):
        assert list(read({"image": part}, slots=("image",)).members) == [extension]


def test_a_sound_without_a_telling_suffix_is_named_after_its_format(read):
    for format_, extension in (("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg")):
        sample = read({"audio": BytesRef(sound(format_), "a.bin")}, slots=("audio",))
        assert list(sample.members) == [extension]


def test_members_without_a_modality_are_carried_byte_for_byte(read, picture):
    parts = {
        "image": BytesRef(picture(), "k.png"),
        "cls": BytesRef(b"7", "k.cls"),
        "seg.npy": BytesRef(b"\x93NUMPY", "k.seg.npy"),
        "done": BytesRef(b"", "k.done"),
        ".text": BytesRef(b"\xff", "k.text"),
        ".image.json": BytesRef(b"[", "k.image.json"),
    }
    members = read(parts, slots=("image",)).members
    assert list(members) == ["png", "cls", "seg.npy", "done", "text", "image.json"]
    assert members["text"] == b"\xff"


def test_a_picture_encoded_anew_does_not_take_the_place_of_another_member(read, picture):
    parts = {
        "image": BytesRef(picture(kind="JPEG"), "k.jpg"),
        "png": BytesRef(b"a second picture", "k.png"),
    }
    sample = read(parts, slots=("image",), encode="png")
    assert problems(sample) == {"png": "duplicate"}
    assert Image.open(io.BytesIO(sample.members["png"])).format == "PNG"


def test_base64_and_members_of_tars_are_read_where_they_are(read, picture, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x" * 512 + picture())
    parts = {
        "image": Base64Ref(base64.b64encode(picture()).decode()),
        "image.left": TarMemberRef(str(tmp_path / "a.tar"), "k.left.png", 512, len(picture())),
    }
    sample = read(parts, slots=("image", "image.left"))
    assert sample.members == {"png": picture(), "left.png": picture()}


def test_reason_and_error_say_which_part_and_why_in_what_a_table_can_hold(read):
    sample = read({"image": FileRef("/gone-caf\udce9.png")})
    assert sample.reason == "image:not_found, text:missing"
    assert sample.error == "image:not_found: /gone-caf\\udce9.png"
