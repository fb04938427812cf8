import base64
import io

import numpy as np
import pytest
from PIL import Image

from mmfeat.media.fetch import MediaFetcher
from mmfeat.media.images.resize import ImageResizer
from mmfeat.records import REASONS, Record
from mmfeat.records.media_ref import Base64Ref, BytesRef, FileRef, TarMemberRef, TextRef
from mmfeat.sharding.sample_reader import SampleReader
from tests.mmfeat.samples import audio_bytes

WAVE = np.linspace(-0.1, 0.1, 800)


def read(media, validation="header", slots=("image", "text"), problems=None, **encoding):
    reader = SampleReader(slots, MediaFetcher(10_000), validation, ImageResizer(**encoding))
    return reader.read(Record(0, "k", media, problems=problems or {}))


def reasons(sample):
    return {slot: reason for slot, (reason, _) in sample.problems.items()}


def test_each_slot_becomes_a_member(picture):
    media = {
        "image": BytesRef(picture(), "a.PNG"),
        "image.left": BytesRef(picture(kind="JPEG"), "b.jpg"),
        "audio": BytesRef(audio_bytes(WAVE), "c.wav"),
        "text": TextRef(" two words "),
        "text.alt": TextRef("other"),
    }
    sample = read(media, slots=tuple(media))
    assert sample.members == {
        "png": picture(),
        "left.jpg": picture(kind="JPEG"),
        "wav": audio_bytes(WAVE),
        "txt": b" two words ",
        "alt.txt": b"other",
    }
    assert set(sample.sha256) == {"image", "image.left", "audio"}
    assert (sample.problems, sample.reason, sample.error) == ({}, None, None)


def test_each_problem_has_its_reason(picture, tmp_path):
    cases = {
        "page.png": (b"<html>404</html>", "undecodable"),
        "zero.png": (b"", "empty"),
        "large.png": (b"x" * 10_001, "too_large"),
        "sound.png": (audio_bytes(WAVE), "undecodable"),
    }
    for name, (content, reason) in cases.items():
        sample = read({"image": BytesRef(content, name), "text": TextRef("x")})
        assert reasons(sample) == {"image": reason}, name
        assert reason in REASONS
    cut = {"image": BytesRef(picture(size=64)[:90], "cut.png")}
    partial = read(cut, "decode")
    assert reasons(partial) == {"image": "undecodable", "text": "missing"}
    assert all(detail for _, detail in partial.problems.values())
    swapped = read({"audio": BytesRef(picture(), "a.wav")}, slots=("audio",))
    assert reasons(swapped) == {"audio": "undecodable"}


def test_known_problems_are_not_read():
    gone = {"image": FileRef("/nowhere/a.png"), "text": TextRef("x")}
    sample = read(gone, problems={"image": ("duplicate", "as b")})
    assert (reasons(sample), list(sample.members)) == ({"image": "duplicate"}, ["txt"])
    assert read(gone, problems={"": ("malformed_row", "")}).members == {}


def test_without_validation_bytes_are_not_decoded():
    sample = read({"image": BytesRef(b"<html>", "page.png")}, "none", ("image",))
    assert sample.members == {"png": b"<html>"}
    assert list(read({"image": BytesRef(b"x", "page")}, "none", ("image",)).members) == ["img"]


def test_blank_and_undecodable_texts_are_problems():
    assert reasons(read({"text": TextRef(" \n")}, slots=("text",))) == {"text": "empty"}
    latin = {"text": BytesRef(b"caf\xe9", "a.txt")}
    assert reasons(read(latin, slots=("text",))) == {"text": "undecodable"}


@pytest.mark.parametrize(
    ("kind", "extension"), [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp")]
)
def test_images_without_an_extension_get_one(picture, kind, extension):
    content = picture(kind=kind)
    for ref in (BytesRef(content, "a"), BytesRef(content, "a.php"), BytesRef(content, "a.wav")):
        assert list(read({"image": ref}, slots=("image",)).members) == [extension]


def test_audio_without_an_extension_gets_one():
    for format_, extension in (("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg")):
        sample = read(
            {"audio": BytesRef(audio_bytes(WAVE, format=format_), "a.bin")}, slots=("audio",)
        )
        assert list(sample.members) == [extension]


def test_members_without_a_modality_pass_through(picture):
    media = {
        "image": BytesRef(picture(), "k.png"),
        "cls": BytesRef(b"7", "k.cls"),
        "seg.npy": BytesRef(b"\x93NUMPY", "k.seg.npy"),
        "done": BytesRef(b"", "k.done"),
        ".text": BytesRef(b"\xff", "k.text"),
        ".image.json": BytesRef(b"[", "k.image.json"),
    }
    members = read(media, slots=("image",)).members
    assert list(members) == ["png", "cls", "seg.npy", "done", "text", "image.json"]
    assert members["text"] == b"\xff"


def test_an_encoded_image_does_not_replace_another_member(picture):
    media = {
        "image": BytesRef(picture(kind="JPEG"), "k.jpg"),
        "png": BytesRef(b"a second picture", "k.png"),
    }
    sample = read(media, slots=("image",), encode="png")
    assert reasons(sample) == {"png": "duplicate"}
    assert Image.open(io.BytesIO(sample.members["png"])).format == "PNG"


def test_base64_and_tar_members_are_read(picture, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x" * 512 + picture())
    media = {
        "image": Base64Ref(base64.b64encode(picture()).decode()),
        "image.left": TarMemberRef(str(tmp_path / "a.tar"), "k.left.png", 512, len(picture())),
    }
    sample = read(media, slots=("image", "image.left"))
    assert sample.members == {"png": picture(), "left.png": picture()}


def test_reason_and_error_name_the_parts_and_are_valid_text():
    sample = read({"image": FileRef("/gone-caf\udce9.png")})
    assert sample.reason == "image:not_found, text:missing"
    assert sample.error == (
        "image:not_found: /gone-caf\\udce9.png; text:missing: the record has none"
    )


def test_a_text_above_the_limit_is_too_large(monkeypatch):
    monkeypatch.setattr("mmfeat.records.text.MAX_TEXT_BYTES", 10)
    sample = read({"text": TextRef("a" * 10), "text.desc": TextRef("é" * 6)}, slots=("text",))
    assert sample.members == {"txt": b"a" * 10}
    assert sample.problems.get("text.desc") == ("too_large", "a text of 12 bytes; the limit is 10")
