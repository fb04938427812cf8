import csv
import json
import os
import shutil
from collections import Counter

import pytest
from PIL import Image

from mmfeat.records import is_blank, key_text, safe_key
from mmfeat.store.manifest import read_manifest
from tests.faults import assert_one_error
from tests.pipelines.shard.odd_inputs.odd_tables import assert_counts_add_up, write_table
from tests.ugly_files import ugly_files

USABLE = {"ok", "ok_warn", "frame_error"}


EXCEPTIONS = {
    # Pillow 13 decodes these two, Pillow 12 does not. Pillow's own test allows both.
    "images/crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": "undecodable",
    "images/crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "undecodable",
}
"""File → a status that differs from manifest.csv, which was made with Pillow 13."""


def statuses_by_row(rows, slot):
    return {row["input_row"]: (row[f"{slot}_status"], row["error"]) for row in rows}


def test_warnings_of_pillow_do_not_reach_the_console(mmfeat_process, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    palette = Image.new("P", (8, 8))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(folder / "palette.png", transparency=b"\0\xff")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x87\x69\0\4\0\0"
    Image.new("RGB", (8, 8)).save(folder / "exif.jpg", exif=exif)
    Image.new("1", (10_000, 9_000)).save(folder / "large.png")
    arguments = ("--validate", "decode", "--resize", 8, "--resize-mode", "keep_ratio")
    process = mmfeat_process("shard", folder, tmp_path / "out", *arguments)
    output = process.stdout.read().decode()
    assert process.wait() == 0, output
    assert read_manifest(str(tmp_path / "out"), "shards")["totals"]["status"] == {"ok": 3}
    assert "Warning" not in output


def test_pictures_that_pillow_decodes_are_ok(mmfeat, real_data, tmp_path, read_rows, read_samples):
    folder = real_data("ugly")
    files = ugly_files(folder, "image")
    table = write_table(tmp_path / "t.csv", "image", [folder / name for name in files])
    result = mmfeat("shard", table, tmp_path / "out", "--validate", "decode")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    statuses = statuses_by_row(rows, "image")
    differing = {
        name: statuses[row]
        for row, (name, facts) in enumerate(files.items())
        if (statuses[row][0] == "ok") != (facts["observed"] in USABLE)
    }
    assert {name: status for name, (status, _) in differing.items()}.items() <= EXCEPTIONS.items()
    samples = read_samples(tmp_path / "out")
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
def test_broken_pictures_do_not_stop_other_options(mmfeat, real_data, tmp_path, read_rows, flags):
    folder = real_data("ugly")
    files = ugly_files(folder, "image")
    table = write_table(tmp_path / "t.csv", "image", [folder / name for name in files])
    result = mmfeat("shard", table, tmp_path / "out", *flags)
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    assert len(rows) == len(files)


def test_sounds_that_soundfile_reads_are_ok(mmfeat, real_data, tmp_path, read_rows):
    folder = real_data("ugly")
    files = ugly_files(folder, "audio")
    table = write_table(tmp_path / "t.csv", "audio", [folder / name for name in files])
    for validate in ("header", "decode"):
        out = tmp_path / validate
        assert mmfeat("shard", table, out, "--validate", validate).returncode == 0
        rows = read_rows(out)
        assert_counts_add_up(out, rows)
        statuses = statuses_by_row(rows, "audio")
        for row, (name, facts) in enumerate(files.items()):
            good = "soundfile: ok" in facts["observed_detail"]
            assert (statuses[row][0] == "ok") == good, (name, statuses[row])


def naughty_strings(folder):
    return json.loads((folder / "text/blns.json").read_text(encoding="utf-8"))


def test_naughty_strings_are_kept_as_texts(mmfeat, real_data, tmp_path, read_rows, read_samples):
    strings = naughty_strings(real_data("ugly"))
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
        rows = read_rows(out)
        assert_counts_add_up(out, rows)
        samples = read_samples(out)
        for row in rows:
            string = strings[row["input_row"]]
            assert row["other"] == string
            if not is_blank(string):
                assert samples[row["__key__"]]["txt"] == string.encode()
                assert json.loads(samples[row["__key__"]]["json"])["other"] == string
            else:
                assert row["reason"] == ("text:empty" if string else "text:missing")


def test_naughty_strings_are_distinct_keys(mmfeat, real_data, tmp_path, read_rows, read_samples):
    strings = naughty_strings(real_data("ugly"))
    lines = [json.dumps({"id": s, "text": f"t{n}"}) for n, s in enumerate(strings)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    flags = ("--key-column", "id", "--duplicate-keys", "suffix")
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out", *flags)
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    assert len(rows) == len(strings)
    keys = [safe_key(key_text(string)) for string in strings]
    shared = Counter(keys)
    samples = read_samples(tmp_path / "out")
    for row in rows:
        key = keys[row["input_row"]]
        if key and shared[key] == 1:
            assert row["__key__"] == key
        assert samples[row["__key__"]]["txt"] == f"t{row['input_row']}".encode()
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert read_samples(tmp_path / "again") == samples


def test_each_broken_tar_gives_records_or_one_error_line(mmfeat, real_data, tmp_path, read_rows):
    folder = real_data("ugly")
    for number, name in enumerate(ugly_files(folder, "tar")):
        out = tmp_path / str(number)
        result = mmfeat("shard", folder / name, out)
        assert "Traceback" not in result.stderr, name
        if result.returncode == 0:
            assert_counts_add_up(out, read_rows(out))
        else:
            assert_one_error(result)


def test_broken_tars_do_not_affect_good_ones(
    mmfeat, real_data, tmp_path, read_rows, toy_table, read_samples
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
    rows = read_rows(tmp_path / "out")
    assert_counts_add_up(tmp_path / "out", rows)
    samples, good = read_samples(tmp_path / "out"), read_samples(tmp_path / "good")
    assert all(sample in samples.values() for sample in good.values())
    damaged = sum("damaged_shard" in (row["reason"] or "") for row in rows)
    assert damaged > 1
    assert f"{damaged} records are incomplete because a tar of the input is damaged" in (
        result.stdout
    )
