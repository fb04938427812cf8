import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import assert_one_error
from tests.pipelines.shard.odd_inputs.odd_tables import assert_counts_add_up, write_table


def test_odd_files_in_a_folder_have_a_status(mmfeat, tmp_path, picture, read_rows):
    raw = tmp_path / "raw"
    (raw / "folder.jpg").mkdir(parents=True)
    (raw / "folder.jpg" / "inside.png").write_bytes(picture())
    (raw / "good.png").write_bytes(picture())
    (raw / "empty.png").write_bytes(b"")
    (raw / "loop.png").symlink_to(raw / "loop.png")
    (raw / "nowhere.png").symlink_to(raw / "gone.png")
    (raw / "up").symlink_to(raw)
    os.mkfifo(raw / "pipe.png")
    (raw / "deep.json").write_text('{"a":' * 700 + "1" + "}" * 700)
    (raw / "deep.png").write_bytes(picture())
    (raw / "bad.json").write_text("[1")
    (raw / "bad.png").write_bytes(picture())
    (raw / os.fsdecode(b"latin\xe9.png")).write_bytes(picture())
    result = mmfeat("shard", raw, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    statuses = {row["__key__"]: (row["status"], row["reason"]) for row in rows}
    assert statuses["good"] == statuses["folder_jpg/inside"] == ("ok", None)
    assert statuses["empty"] == ("failed", "image:empty")
    assert statuses["bad"] == ("partial", "json:undecodable")
    assert statuses["latin_"] == ("ok", None)
    assert statuses["deep"][0] in ("ok", "partial")


def test_odd_paths_in_a_table_have_a_reason(mmfeat, tmp_path, picture, read_rows):
    names = {
        "good.png": "ok",
        "empty.png": "empty",
        "folder.jpg": "unreadable",
        "loop.png": "unreadable",
        "pipe.png": "unreadable",
        "/dev/zero": "unreadable",
        "nul\x00byte.png": "unreadable",
        "x" * 5000: "unreadable",
        "gone.png": "not_found",
        "../../up.png": "outside",
        "good.png/under.png": "unreadable",
        "nosuch://host/x.png": "outside",
        "http://[bad/x.png": "unreadable",
    }
    raw = tmp_path / "raw"
    (raw / "folder.jpg").mkdir(parents=True)
    (raw / "good.png").write_bytes(picture())
    (raw / "empty.png").write_bytes(b"")
    (raw / "loop.png").symlink_to(raw / "loop.png")
    os.mkfifo(raw / "pipe.png")
    table = write_table(raw / "t.csv", "image", names)
    result = mmfeat("shard", table, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    statuses = {list(names)[row["input_row"]]: row["image_status"] for row in rows}
    assert statuses == names


def test_odd_texts_are_kept_or_have_a_reason(mmfeat, tmp_path, read_rows, read_samples):
    texts = [
        "x" * 65_537,
        "日" * 65_537,
        "\ud800",
        "a\udfffb",
        "\x00",
        "\x00a",
        "\u2028",
        " \t\n",
        "\r\n",
    ]
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)]
    lines += ['{"id": 9, "text": "cut', "[1]", "null", '{"id": 12, "text": 5}', "\xff"]
    (tmp_path / "t.jsonl").write_bytes("\n".join(lines).encode("latin-1", "xmlcharrefreplace"))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out", "--key-column", "id")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    reasons = {row["input_row"]: row["reason"] for row in rows}
    assert [reasons[n] for n in range(14)] == [
        None, None, "text:undecodable", "text:undecodable", "text:empty", None,
        "text:empty", "text:empty", "text:empty",
        "malformed_row", "malformed_row", "malformed_row", "text:undecodable", "malformed_row",
    ]  # fmt: skip
    samples = read_samples(tmp_path / "out")
    for n in (0, 1, 5):
        assert samples[str(n)]["txt"] == texts[n].encode()


def test_column_names_need_not_be_utf8(mmfeat, tmp_path, read_rows):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "\\ud800": 1, "in": {"\\udfff": 2}}\n')
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (row,) = read_rows(tmp_path / "out")
    assert row["\\ud800"] == 1


@pytest.mark.parametrize("depth", [100, 400, 700, 950, 100_000])
def test_deep_json_does_not_stop_the_run(mmfeat, tmp_path, depth, read_rows):
    deep = "[" * depth + "]" * depth
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": "b", "x": ' + deep + "}\n")
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert_counts_add_up(tmp_path / "out", read_rows(tmp_path / "out"))


def test_a_malformed_csv_gives_malformed_rows(mmfeat, tmp_path, read_rows):
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbfid,text\r\n1,plain\r\n2,nul\x00byte\r\n3\r\n4,a,b\r\n\r\n\x00\x00,\r\n"
        b'5,"quoted\r\nline"\r\n6,caf\xe9\r\n7,"never closes\r\n8,lost\r\n'
    )
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    reasons = Counter(row["reason"] for row in rows)
    assert reasons["malformed_row"] >= 2
    assert reasons["text:undecodable"] == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"\x00\x01\x02"),
        ("t.csv", b"a,b\n1,2\n"),
        ("t.csv", b"text,text\n1,2\n"),
        ("t.csv.gz", b"no gzip"),
        ("t.csv.zst", b"no zstd"),
        ("t.parquet", b"no parquet"),
        ("t.parquet", b"PAR1" + bytes(100) + b"PAR1"),
        ("t.json", b"{"),
        ("t.json", b"[1, 2"),
        ("t.jsonl", b"\xff\xfe"),
        ("t.tar", b"no tar" * 500),
        ("t.tar", b""),
        ("t.tar.gz", b"x"),
        ("t.txt", b"x"),
        ("t", b"x"),
    ],
)
def test_an_invalid_input_is_one_error_line(mmfeat, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert assert_one_error(mmfeat("shard", tmp_path / name, tmp_path / "out"))
    assert not list(tmp_path.glob("out/0*"))


def test_a_missing_input_is_one_error_line(mmfeat, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("gone.csv", "gone", "*.tar", "{1..", "empty", "nosuch://x/t.csv"):
        path = f"{tmp_path}/{name}" if "//" not in name else name
        assert assert_one_error(mmfeat("shard", path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_invalid_output_is_one_error_line(mmfeat, toy_table, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for name in ("file", "file/under", "full"):
        assert_one_error(mmfeat("shard", toy_table, tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_tar_members_outside_the_folder_are_harmless(
    mmfeat, tmp_path, picture, read_rows, read_samples
):
    members = [
        "../up.png",
        "/root.png",
        "a/../../b.png",
        "good.png",
        "a//b.png",
        "./dot.png",
        ".png",
    ]
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(picture())
            tar.addfile(info, io.BytesIO(picture()))
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.FIFOTYPE, "pipe.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    result = mmfeat("shard", tmp_path / "t.tar", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    for key in read_samples(tmp_path / "out"):
        assert not key.startswith("/")
        assert ".." not in Path(key).parts
    statuses = {row["__key__"]: row["status"] for row in rows}
    assert (statuses["good"], statuses["dot"]) == ("ok", "ok")
    assert sum(status == "failed" for status in statuses.values()) >= 5
