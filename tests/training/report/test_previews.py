"""Previews of records, from shards that may be hostile."""

import base64
import io
import json
import struct
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmfeat.errors import RecordError
from mmfeat.inspection.previews import record_previews as previews
from mmfeat.inspection.previews.record_previews import (
    BROKEN,
    BROKEN_SOUND,
    LEFT_OUT,
    THUMBNAIL_SIDE,
    make_thumbnail,
    read_previews,
)
from training.report import write_model_report


def png(size: tuple[int, int] = (400, 200), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, (200, 30, 30) if mode == "RGB" else None).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a PNG whose header claims 60,000 by 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 999))
        + chunk(b"IEND", b"")
    )


def size_of(url: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size


def test_thumbnail_is_a_small_jpeg() -> None:
    assert size_of(make_thumbnail(png())) == (THUMBNAIL_SIDE, THUMBNAIL_SIDE // 2)
    assert size_of(make_thumbnail(png((10, 10)))) == (10, 10)


def test_transparent_pixels_become_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(buffer, "PNG")
    url = make_thumbnail(buffer.getvalue())
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert image.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", png()[:60], bomb()], ids=len)
def test_broken_images_are_refused(content: bytes) -> None:
    with pytest.raises(RecordError):
        make_thumbnail(content)


def test_previews_of_good_and_bad_members(make_shards) -> None:
    shards = make_shards(
        {
            "good": {"png": png(), "txt": "müde".encode(), "json": b"{}"},
            "broken": {"png": b"<html>", "txt": b"\xff\xfe not utf-8"},
            "bomb": {"png": bomb()},
            "sound": {"wav": b"RIFF", "txt": b"x" * 5000},
        }
    )
    by_key = read_previews(shards, {"00000": ["good", "broken", "bomb", "sound", "gone"]})
    good, broken, huge, sound = (
        by_key["00000", key] for key in ("good", "broken", "bomb", "sound")
    )
    assert good.thumbnails["image"].startswith("data:image/jpeg;base64,")
    assert (good.texts, good.problems) == ({"text": "müde"}, {})
    assert (broken.thumbnails, broken.problems) == ({"image": ""}, {"image": BROKEN})
    assert huge.problems == {"image": BROKEN}
    assert (sound.sounds, sound.thumbnails, len(sound.texts["text"])) == ({"audio": ""}, {}, 401)
    assert ("00000", "gone") not in by_key
    heard = read_previews(shards, {"00000": ["sound"]}, sounds=True)["00000", "sound"]
    assert (heard.sounds, heard.problems) == ({"audio": ""}, {"audio": BROKEN_SOUND})


def test_damaged_or_missing_tar_loses_only_its_records(make_shards) -> None:
    shards = make_shards({key: {"png": png(), "txt": b"text"} for key in "abc"})
    path = Path(shards, "00000.tar")
    path.write_bytes(path.read_bytes()[:4000])
    assert {key for _, key in read_previews(shards, {"00000": "abc", "00001": "x"})} <= {"a", "b"}
    path.unlink()
    assert read_previews(shards, {"00000": "abc"}) == {}


def test_thumbnails_of_a_page_are_limited(make_shards, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = make_shards({key: {"png": png()} for key in "abc"})
    monkeypatch.setattr(previews, "MAX_PAGE_CHARACTERS", len(make_thumbnail(png())) + 10)
    by_key = read_previews(shards, {"00000": "abc"})
    problems = [by_key["00000", key].problems for key in "abc"]
    assert problems == [{}, {"image": LEFT_OUT}, {"image": LEFT_OUT}]


def test_every_slot_has_its_preview(make_model, make_shards, read_page) -> None:
    model = make_model(rows=12)
    keys = pq.read_table(Path(model, "predictions.parquet"))["__key__"].to_pylist()
    parts = {"png": png(), "back.png": png((10, 30)), "side.png": b"<html>", "txt": b"the title",
             "desc.txt": b"the description", "voice.wav": b"RIFF"}  # fmt: skip
    shards = make_shards(dict.fromkeys(keys, parts))
    preview = read_previews(shards, {"00000": keys[:1]})["00000", keys[0]]
    sizes = {slot: size_of(url) for slot, url in preview.thumbnails.items() if url}
    assert sizes == {"image": (320, 160), "image.back": (10, 30)}
    assert preview.problems == {"image.side": BROKEN}
    assert preview.texts == {"text": "the title", "text.desc": "the description"}
    assert preview.sounds == {"audio.voice": ""}
    page = read_page(write_model_report(model, shards=shards))
    assert len(page.images) == 2 * page.text.count("the description") > 0
    for slot in ("image.back", "image.side", "text.desc", "audio.voice"):
        assert slot in page.text


def test_broken_image_does_not_stop_the_report(make_model, make_shards, read_page) -> None:
    model = make_model(rows=12)
    keys = pq.read_table(Path(model, "predictions.parquet"))["__key__"].to_pylist()
    contents = [png(), b"not an image", bomb()]
    shards = make_shards({key: {"png": contents[i % 4 % 3]} for i, key in enumerate(keys)})
    page = read_page(write_model_report(model, shards=shards))
    assert page.images
    assert "image cannot be read" in page.text


def test_shard_name_is_not_used_as_a_path(make_model, make_shards, read_page) -> None:
    model = make_model(rows=12, shard="../shards/00000")
    keys = pq.read_table(Path(model, "predictions.parquet"))["__key__"].to_pylist()
    shards = make_shards({key: {"png": png()} for key in keys})
    page = read_page(write_model_report(model, shards=shards))
    assert page.images == []
    assert "not found in the shards" in page.text


def test_shards_are_found_through_the_features(
    make_model, mmfeat, toy_table, tmp_path, read_page
) -> None:
    shards, features = tmp_path / "made", tmp_path / "features"
    assert mmfeat("shard", toy_table, shards).returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    model = make_model(keys=[f"p{number:03}" for number in range(60)])
    config = Path(model, "config.json")
    hashes = [storage_hash(path) for path in (config, features)]
    config.write_text(config.read_text().replace(*hashes))
    Path(model, "manifest.json").write_text(f'{{"features": "{features}"}}')
    page = read_page(write_model_report(model))
    assert len(page.images) == 24
    assert "the big dog barks" in page.text


@pytest.mark.parametrize(
    "path", ["http://127.0.0.1/features", "simplecache::file:///features", "ftp://127.0.0.1/f"]
)
def test_a_model_names_no_server_to_read_from(
    make_model, read_page, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is read")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    model = make_model(rows=12)
    Path(model, "manifest.json").write_text(json.dumps({"features": path}))
    page = read_page(write_model_report(model))
    assert f"are not read from {path}" in page.text


def storage_hash(path: Path) -> str:
    """Return the hash of the features, from a model's config.json or a features directory."""
    if path.is_dir():
        return str(json.loads((path / "manifest.json").read_text())["config_hash"])
    return str(json.loads(path.read_text())["config"]["features"]["config_hash"])
