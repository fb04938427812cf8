"""Every file of an input is a record, a reject, or counted in a note."""

import io
import os
import tarfile

import pytest
from PIL import Image

from mmfeat.store import read_manifest

FORMATS = {
    "jfif": "JPEG", "jpe": "JPEG", "mpo": "MPO", "apng": "PNG", "qoi": "QOI", "xbm": "XBM",
    "pfm": "PPM", "tiff": "TIFF", "jpx": "JPEG2000", "dib": "DIB", "ras": None, "psd": None,
}  # fmt: skip
"""Extension → format; None: Pillow reads the format and does not write it."""

SUN = (
    b"\x59\xa6\x6a\x95" + b"".join(n.to_bytes(4, "big") for n in (2, 2, 8, 4, 1, 0, 0)) + b"\0" * 4
)
PSD = b"8BPS\0\1" + b"\0" * 6 + (3).to_bytes(2, "big") + b"".join(
    n.to_bytes(4, "big") for n in (2, 2)
) + b"\0\x08\0\x03" + b"\0" * 12 + b"\0\0" + b"\x07" * 12  # fmt: skip


def image_of(extension, format):
    if format is None:
        return {"ras": SUN, "psd": PSD}[extension]
    file = io.BytesIO()
    mode = {"XBM": "1", "PPM": "F"}.get(format, "RGB")
    Image.new(mode, (2, 2)).save(file, format)
    return file.getvalue()


def totals_of(folder):
    return read_manifest(str(folder), "shards")["totals"]


def test_folders_tars_and_tables_read_the_same_image_formats(mmfeat, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for extension, format in FORMATS.items():
            path = raw / f"{extension}.{extension}"
            path.write_bytes(image_of(extension, format))
            tar.add(path, path.name)
    rows = "".join(f"{raw}/{extension}.{extension}\n" for extension in FORMATS)
    (tmp_path / "a.csv").write_text(f"image\n{rows}")
    for name in ("raw", "a.tar", "a.csv"):
        result = mmfeat("shard", tmp_path / name, tmp_path / "out" / name, "--validate", "decode")
        assert result.returncode == 0, result.stderr
        assert totals_of(tmp_path / "out" / name)["status"] == {"ok": len(FORMATS)}


def test_all_that_lies_in_a_folder_is_accounted_for(mmfeat, picture, tmp_path):
    store, raw = tmp_path / "store", tmp_path / "raw"
    for folder in (store, raw / "cat"):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(picture())
    (raw / "bird").symlink_to(store)
    (raw / "cat" / "gone.png").symlink_to("nowhere")
    (raw / "cat" / "again").symlink_to(raw)
    os.mkfifo(raw / "cat" / "pipe.png")
    for name in ("backup.tar.gz", ".DS_Store", "notes.md"):
        (raw / name).write_bytes(b"x")
    result = mmfeat("shard", raw, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert totals_of(tmp_path / "out")["rejected"] == {
        "image:not_found": 1,
        "image:unreadable": 1,
    }
    assert totals_of(tmp_path / "out")["records"] == 4
    note = "1 .md, 1 .tar.gz, 1 hidden, 1 linked to a folder above"
    assert note in " ".join(result.stderr.split())


def test_members_in_another_order_make_whole_records(mmfeat, picture, tmp_path, read_rows):
    members = [(f"{n}.png", picture((n, 0, 0))) for n in range(120)]
    members += [(f"{n}.txt", b"words") for n in range(120)]
    members += [(f"{n}.cls", b"%d" % (n % 3)) for n in range(120)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = mmfeat("shard", tmp_path / "a.tar", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["__key__"]: row["cls"] for row in rows} == {str(n): n % 3 for n in range(120)}


@pytest.mark.parametrize("extra", ["pkl", "exe"])
def test_a_refused_extra_member_does_not_make_a_record_partial(
    mmfeat, picture, tmp_path, read_rows, extra
):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("a.png", picture()), ("b.png", picture((1, 2, 3)))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(f"b.{extra}")
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/sh"
        tar.addfile(link)
    result = mmfeat("shard", tmp_path / "a.tar", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert totals_of(tmp_path / "out")["status"] == {"ok": 2}
    reasons = {row["__key__"]: row["reason"] for row in read_rows(tmp_path / "out")}
    assert reasons == {"a": None, "b": f"{extra}:unsafe"}
    assert "complete, but an extra member is left out" in result.stdout
