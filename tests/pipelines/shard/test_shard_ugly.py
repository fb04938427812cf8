import csv
import io
import json
import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from mmfeat.records.keys import safe_key
from mmfeat.records.record import REASONS
from mmfeat.store.directory import read_manifest

USABLE = {"ok", "ok_warn", "frame_error"}

EXCEPTIONS = {
    # Pillow 13 decodes these two, Pillow 12 does not; Pillow's own test lets both happen. What
    # Pillow never decodes on our way in needs no line here: EPS and WMF, which manifest.csv has
    # among the errors too, and what has more pixels than MAX_PIXELS.
    "images/crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": "undecodable",
    "images/crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "undecodable",
}
"""File → the status it may have, though Pillow 13 was seen to do otherwise."""


def ugly_files(folder, kind):
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {row["file_name"]: row for row in csv.DictReader(file) if row["kind"] == kind}


def write_table(path, column, names):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "text"])
        writer.writerows([str(name), f"words {number}"] for number, name in enumerate(names))
    return path


def fates(rows, slot):
    return {row["input_row"]: (row[f"{slot}_status"], row["error"]) for row in rows}


def one_line_of(result):
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "mmfeat: error:" in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


def check_account(folder, rows):
    """In = out + rejected, by the manifest, by the tables and by the tars."""
    totals = read_manifest(str(folder), "shards")["totals"]
    assert totals["records"] == len(rows)
    assert totals["out"] == sum(row["status"] != "failed" for row in rows)
    assert totals["records"] == totals["out"] + sum(totals["rejected"].values())
    assert all((row["reason"] is None) == (row["status"] == "ok") for row in rows)
    words = {w.rpartition(":")[2] for row in rows for w in (row["reason"] or "").split(", ") if w}
    assert words <= REASONS.keys()
    assert len({row["__key__"] for row in rows}) == len(rows)


def test_of_the_ugly_pictures_those_are_ok_that_pillow_decodes(
    mmfeat, real_data, tmp_path, rows_of, samples_of
):
    folder = real_data("ugly")
    files = ugly_files(folder, "image")
    table = write_table(tmp_path / "t.csv", "image", [folder / name for name in files])
    result = mmfeat("shard", table, tmp_path / "out", "--validate", "decode")
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    seen = fates(rows, "image")
    unlike = {
        name: seen[row]
        for row, (name, facts) in enumerate(files.items())
        if (seen[row][0] == "ok") != (facts["observed"] in USABLE)
    }
    assert {name: status for name, (status, _) in unlike.items()}.items() <= EXCEPTIONS.items()
    samples = samples_of(tmp_path / "out")
    for row in rows:
        content = (folder / list(files)[row["input_row"]]).read_bytes()
        kept = {e: data for e, data in samples[row["__key__"]].items() if e not in ("txt", "json")}
        assert list(kept.values()) == ([content] if row["image_status"] == "ok" else [])


@pytest.mark.parametrize(
    "flags",
    [
        ("--validate", "header"),
        ("--validate", "none"),
        ("--encode", "webp", "--resize", 16, "--resize-mode", "border"),
    ],
)
def test_the_ugly_pictures_harm_no_other_way_of_sharding_them(
    mmfeat, real_data, tmp_path, rows_of, flags
):
    folder = real_data("ugly")
    files = ugly_files(folder, "image")
    table = write_table(tmp_path / "t.csv", "image", [folder / name for name in files])
    result = mmfeat("shard", table, tmp_path / "out", *flags)
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    assert len(rows) == len(files)


def test_of_the_ugly_sounds_those_are_ok_that_soundfile_reads(mmfeat, real_data, tmp_path, rows_of):
    folder = real_data("ugly")
    files = ugly_files(folder, "audio")
    table = write_table(tmp_path / "t.csv", "audio", [folder / name for name in files])
    for validate in ("header", "decode"):
        out = tmp_path / validate
        assert mmfeat("shard", table, out, "--validate", validate).returncode == 0
        rows = rows_of(out)
        check_account(out, rows)
        seen = fates(rows, "audio")
        for row, (name, facts) in enumerate(files.items()):
            good = "soundfile: ok" in facts["observed_detail"]
            assert (seen[row][0] == "ok") == good, (name, seen[row])


def naughty(folder):
    return json.loads((folder / "text/blns.json").read_text(encoding="utf-8"))


def test_naughty_strings_are_texts_byte_for_byte(mmfeat, real_data, tmp_path, rows_of, samples_of):
    strings = naughty(real_data("ugly"))
    lines = [json.dumps({"id": n, "text": s, "other": s}) for n, s in enumerate(strings)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["id", "text", "other"]] + [[n, s, s] for n, s in enumerate(strings)]
        )
    for name in ("t.jsonl", "t.csv"):
        out = tmp_path / f"out-{name}"
        result = mmfeat("shard", tmp_path / name, out, "--key-column", "id")
        assert result.returncode == 0, result.stderr
        rows = rows_of(out)
        check_account(out, rows)
        samples = samples_of(out)
        for row in rows:
            string = strings[row["input_row"]]
            assert row["other"] == string
            if string.strip():
                assert samples[row["__key__"]]["txt"] == string.encode()
                assert json.loads(samples[row["__key__"]]["json"])["other"] == string
            else:
                assert row["reason"] == ("text:empty" if string else "text:missing")


def test_naughty_strings_are_keys_that_stay_apart_and_survive_a_second_time(
    mmfeat, real_data, tmp_path, rows_of, samples_of
):
    strings = naughty(real_data("ugly"))
    lines = [json.dumps({"id": s, "text": f"t{n}"}) for n, s in enumerate(strings)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    flags = ("--key-column", "id", "--duplicate-keys", "suffix")
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out", *flags)
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    assert len(rows) == len(strings)
    shared = Counter(map(safe_key, strings))
    samples = samples_of(tmp_path / "out")
    for row in rows:
        key = safe_key(strings[row["input_row"]])
        if key and shared[key] == 1:
            assert row["__key__"] == key
        assert samples[row["__key__"]]["txt"] == f"t{row['input_row']}".encode()
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert samples_of(tmp_path / "again") == samples


def test_each_ugly_tar_alone_gives_records_or_one_clear_line(mmfeat, real_data, tmp_path, rows_of):
    folder = real_data("ugly")
    for number, name in enumerate(ugly_files(folder, "tar")):
        out = tmp_path / str(number)
        result = mmfeat("shard", folder / name, out)
        assert "Traceback" not in result.stderr, name
        if result.returncode == 0:
            check_account(out, rows_of(out))
        else:
            one_line_of(result)


def test_the_ugly_tars_harm_no_good_one_beside_them(
    mmfeat, real_data, tmp_path, rows_of, toy_table, samples_of
):
    folder = real_data("ugly")
    assert mmfeat("shard", toy_table, tmp_path / "good").returncode == 0
    tars = tmp_path / "tars"
    tars.mkdir()
    for name in ugly_files(folder, "tar"):
        if name.endswith(".tar"):
            shutil.copy(folder / name, tars)
    shutil.copy(tmp_path / "good/00000.tar", tars / "zz.tar")
    content = (tars / "zz.tar").read_bytes()
    (tars / "zz-cut.tar").write_bytes(content[: len(content) // 2 + 100])
    (tars / "zz-empty.tar").write_bytes(b"")
    (tars / "zz-noise.tar").write_bytes(os.urandom(5000))
    result = mmfeat("shard", tars, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    samples, good = samples_of(tmp_path / "out"), samples_of(tmp_path / "good")
    found = [s for s in samples.values() if s in good.values()]
    assert all(sample in found for sample in good.values())
    assert any("damaged_shard" in (row["reason"] or "") for row in rows)


def test_odd_files_of_a_folder_stop_nothing(mmfeat, tmp_path, picture, rows_of):
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
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    found = {row["__key__"]: (row["status"], row["reason"]) for row in rows}
    assert found["good"] == found["folder_jpg/inside"] == ("ok", None)
    assert found["empty"] == ("failed", "image:empty")
    assert found["bad"] == ("partial", "json:undecodable")
    assert found["latin_"] == ("ok", None)
    assert found["deep"][0] in ("ok", "partial")


def test_odd_files_that_a_table_names_are_reasons(mmfeat, tmp_path, picture, rows_of):
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
        "nosuch://host/x.png": "unreadable",
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
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    seen = {list(names)[row["input_row"]]: row["image_status"] for row in rows}
    assert seen == names


def test_odd_texts_survive_or_say_why_not(mmfeat, tmp_path, rows_of, samples_of):
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
    lines = [json.dumps({"id": n, "text": text, "o": text}) for n, text in enumerate(texts)]
    lines += ['{"id": 9, "text": "cut', "[1]", "null", '{"id": 12, "text": 5}', "\xff"]
    (tmp_path / "t.jsonl").write_bytes("\n".join(lines).encode("latin-1", "xmlcharrefreplace"))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out", "--key-column", "id")
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    reasons = {row["input_row"]: row["reason"] for row in rows}
    assert [reasons[n] for n in range(14)] == [
        None, None, "text:undecodable", "text:undecodable", None, None,
        "text:empty", "text:empty", "text:empty",
        "malformed_row", "malformed_row", "malformed_row", "text:undecodable", "malformed_row",
    ]  # fmt: skip
    samples = samples_of(tmp_path / "out")
    for n in (0, 1, 4, 5):
        assert samples[str(n)]["txt"] == texts[n].encode()


def test_names_of_columns_that_are_no_utf_8_stop_nothing(mmfeat, tmp_path, rows_of):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "\\ud800": 1, "in": {"\\udfff": 2}}\n')
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (row,) = rows_of(tmp_path / "out")
    assert row["\\ud800"] == 1


@pytest.mark.parametrize("depth", [100, 400, 700, 950, 100_000])
def test_json_of_any_depth_stops_nothing(mmfeat, tmp_path, depth, rows_of):
    deep = "[" * depth + "]" * depth
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": "b", "x": ' + deep + "}\n")
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    check_account(tmp_path / "out", rows_of(tmp_path / "out"))


def test_a_csv_with_nul_bytes_quotes_that_never_close_and_ragged_lines_stops_nothing(
    mmfeat, tmp_path, rows_of
):
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbfid,text\r\n1,plain\r\n2,nul\x00byte\r\n3\r\n4,a,b\r\n\r\n\x00\x00,\r\n"
        b'5,"quoted\r\nline"\r\n6,caf\xe9\r\n7,"never closes\r\n8,lost\r\n'
    )
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
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
def test_an_input_that_is_no_table_is_one_clear_line(mmfeat, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert one_line_of(mmfeat("shard", tmp_path / name, tmp_path / "out"))
    assert not list(tmp_path.glob("out/0*"))


def test_an_input_that_is_not_there_is_one_clear_line(mmfeat, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("gone.csv", "gone", "*.tar", "{1..", "empty", "nosuch://x/t.csv"):
        path = f"{tmp_path}/{name}" if "//" not in name else name
        assert one_line_of(mmfeat("shard", path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_is_one_clear_line(mmfeat, toy_table, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for name in ("file", "file/under", "full"):
        one_line_of(mmfeat("shard", toy_table, tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_tar_with_names_that_lead_outside_and_links_is_harmless(
    mmfeat, tmp_path, picture, rows_of, samples_of
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
    rows = rows_of(tmp_path / "out")
    check_account(tmp_path / "out", rows)
    for key in samples_of(tmp_path / "out"):
        assert not key.startswith("/")
        assert ".." not in Path(key).parts
    found = {row["__key__"]: row["status"] for row in rows}
    assert (found["good"], found["dot"]) == ("ok", "ok")
    assert sum(status == "failed" for status in found.values()) >= 5
