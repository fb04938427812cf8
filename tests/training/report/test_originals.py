"""Pictures and texts of records, out of shards that may be hostile."""

import base64
import io
import struct
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmfeat.errors import RecordError
from training.report import originals, write_model_report
from training.report.thumbnails import BROKEN, LEFT_OUT, SIDE, read_originals, thumbnail


def png(size: tuple[int, int] = (400, 200), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, (200, 30, 30) if mode == "RGB" else None).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG whose header claims 60,000 by 60,000 pixels."""
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


def test_a_thumbnail_is_a_small_jpeg() -> None:
    assert size_of(thumbnail(png())) == (SIDE, SIDE // 2)
    assert size_of(thumbnail(png((10, 10)))) == (10, 10)


def test_what_is_transparent_is_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(buffer, "PNG")
    url = thumbnail(buffer.getvalue())
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert picture.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", png()[:60], bomb()], ids=len)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(RecordError):
        thumbnail(content)


def test_members_are_found_whatever_is_beside_them(make_shards) -> None:
    shards = make_shards(
        {
            "good": {"png": png(), "txt": "müde".encode(), "json": b"{}"},
            "broken": {"png": b"<html>", "txt": b"\xff\xfe not utf-8"},
            "bomb": {"png": bomb()},
            "sound": {"wav": b"RIFF", "txt": b"x" * 5000},
        }
    )
    found = read_originals(shards, {"00000": ["good", "broken", "bomb", "sound", "gone"]})
    good, broken, huge, sound = (found["00000", key] for key in ("good", "broken", "bomb", "sound"))
    assert good.picture.startswith("data:image/jpeg;base64,")
    assert good.texts == ["müde"]
    assert (broken.picture, broken.problem) == ("", BROKEN)
    assert huge.problem == BROKEN
    assert (sound.sounds, sound.problem, len(sound.texts[0])) == (1, "", 401)
    assert ("00000", "gone") not in found


def test_a_damaged_or_lost_tar_costs_its_own_records_only(make_shards) -> None:
    shards = make_shards({key: {"png": png(), "txt": b"text"} for key in "abc"})
    path = Path(shards, "00000.tar")
    path.write_bytes(path.read_bytes()[:4000])
    assert {key for _, key in read_originals(shards, {"00000": "abc", "00001": "x"})} <= {"a", "b"}
    path.unlink()
    assert read_originals(shards, {"00000": "abc"}) == {}


def test_a_page_holds_so_many_pictures(make_shards, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = make_shards({key: {"png": png()} for key in "abc"})
    monkeypatch.setattr(originals, "MAX_PAGE_BYTES", len(thumbnail(png())) + 10)
    found = read_originals(shards, {"00000": "abc"})
    assert [found["00000", key].problem for key in "abc"] == ["", LEFT_OUT, LEFT_OUT]


def test_a_broken_picture_does_not_end_the_report(make_model, make_shards, read_page) -> None:
    model = make_model(rows=12)
    keys = pq.read_table(Path(model, "predictions.parquet"))["__key__"].to_pylist()
    contents = [png(), b"no picture", bomb()]
    shards = make_shards({key: {"png": contents[i % 4 % 3]} for i, key in enumerate(keys)})
    page = read_page(write_model_report(model, shards=shards))
    assert page.images
    assert "picture cannot be read" in page.text


def test_a_shard_name_from_the_file_is_no_path(make_model, make_shards, read_page) -> None:
    model = make_model(rows=12, shard="../shards/00000")
    keys = pq.read_table(Path(model, "predictions.parquet"))["__key__"].to_pylist()
    shards = make_shards({key: {"png": png()} for key in keys})
    page = read_page(write_model_report(model, shards=shards))
    assert page.images == []
    assert "not found in the shards" in page.text


def test_the_shards_are_found_by_the_receipts_of_the_features(
    make_model, mmfeat, toy_table, tmp_path, read_page
) -> None:
    shards, features = tmp_path / "made", tmp_path / "features"
    assert mmfeat("shard", toy_table, shards).returncode == 0
    assert mmfeat("extract", shards, features).returncode == 0
    model = make_model(keys=[f"p{number:03}" for number in range(60)])
    claim = Path(model, "config.json")
    hashes = [storage_hash(path) for path in (claim, features)]
    claim.write_text(claim.read_text().replace(*hashes))
    Path(model, "manifest.json").write_text(f'{{"features": "{features}"}}')
    page = read_page(write_model_report(model))
    assert len(page.images) == 24
    assert "the big dog barks" in page.text


def storage_hash(path: Path) -> str:
    """The hash of the features that a claim names, or that a manifest has."""
    import json

    if path.is_dir():
        return str(json.loads((path / "manifest.json").read_text())["config_hash"])
    return str(json.loads(path.read_text())["config"]["features"]["config_hash"])
