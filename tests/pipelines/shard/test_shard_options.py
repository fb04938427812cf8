import csv
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmfeat.store.directory import read_manifest
from tests.faults import kill, wait_for


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


def by_key(rows):
    return {row["__key__"]: row for row in rows}


def one_line_of(result):
    """The one line that tells of the error."""
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_dry_run_writes_nothing_and_tells_what_would_be_made(mmfeat, make_table, tmp_path):
    rows = [{"file_name": f"{n}.png", "text": f"t{n}"} for n in range(30)]
    rows[3]["text"] = rows[4]["text"] = ""
    rows[5]["file_name"] = "../x.png"
    table = make_table(rows)
    (table.parent / "7.png").unlink()
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out"
    result = mmfeat("shard", table, out, "--samples-per-shard", 8, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert sorted(tmp_path.rglob("*")) == before
    cells = [line.split("│") for line in result.stdout.splitlines() if "│" in line]
    facts = {line[1].strip(): line[2].strip() for line in cells}
    assert facts["records"] == "30"
    assert facts["shards"] == "4"
    assert facts["records of unknown size"] == "1"
    assert facts["records with image, text"] == "27"
    assert facts["records without text"] == "2"
    assert facts["records with image:outside"] == "1"
    pictures = sum(path.stat().st_size for path in table.parent.glob("*.png"))
    assert int(facts["bytes"].replace(",", "")) > pictures


def test_a_dry_run_beside_a_finished_store_leaves_it_alone(mmfeat, toy_table, tmp_path, whole_of):
    assert mmfeat("shard", toy_table, tmp_path / "out").returncode == 0
    before = whole_of(tmp_path / "out")
    flags = ("--samples-per-shard", 7, "--dry-run")
    assert mmfeat("shard", toy_table, tmp_path / "out", *flags).returncode == 0
    assert whole_of(tmp_path / "out") == before


def test_a_dry_run_refuses_what_the_run_would_refuse(mmfeat, toy_table, tmp_path):
    for flags in (("--require", "audio"), ("--key-column", "label"), ("--where", "nowhere == 1")):
        assert one_line_of(mmfeat("shard", toy_table, tmp_path / "out", *flags, "--dry-run"))
    assert not (tmp_path / "out").exists()


def test_shards_hold_no_more_bytes_than_asked_and_a_large_record_stands_alone(
    mmfeat, make_table, tmp_path, rows_of
):
    rows = [{"file_name": f"{n:02}.png", "text": "x"} for n in range(20)]
    table = make_table(rows)
    noise = Image.frombytes("RGB", (100, 100), os.urandom(30000))
    noise.save(table.parent / "07.png")
    flags = ("--max-shard-bytes", 12000, "--shuffle", "none")
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    shards = manifest_of(tmp_path / "out")["shards"]
    assert sum(shard["records"] for shard in shards) == 20
    for shard in shards:
        path = tmp_path / "out" / f"{shard['name']}.tar"
        keys = pq.read_table(path.with_suffix(".parquet"))["__key__"].to_pylist()
        assert keys == ["07"] or "07" not in keys
        with tarfile.open(path) as tar:
            total = sum(member.size for member in tar)
        assert total <= 12000 or keys == ["07"]
    assert [row["input_row"] for row in rows_of(tmp_path / "out")] == list(range(20))


def test_shards_are_named_as_asked_and_are_an_input_like_any(
    mmfeat, toy_table, tmp_path, samples_of
):
    flags = ("--shard-name", "cats2-%03d_v1", "--samples-per-shard", 25)
    assert mmfeat("shard", toy_table, tmp_path / "out", *flags).returncode == 0
    names = [f"cats2-{n:03}_v1" for n in range(3)]
    assert [shard["name"] for shard in manifest_of(tmp_path / "out")["shards"]] == names
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.tar")) == names
    assert "nothing to do" in mmfeat("shard", toy_table, tmp_path / "out", *flags).stdout
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert samples_of(tmp_path / "again") == samples_of(tmp_path / "out")


@pytest.mark.parametrize("name", ["shard", "../%05d", "a/%05d", "%d", "%05d%05d", "%05s", ".%05d"])
def test_a_bad_shard_name_is_refused(mmfeat, toy_table, tmp_path, name):
    assert "--shard-name" in one_line_of(
        mmfeat("shard", toy_table, tmp_path / "out", "--shard-name", name)
    )


def test_without_a_shuffle_the_order_is_that_of_the_input(mmfeat, make_table, tmp_path, rows_of):
    rows = [{"file_name": f"{n * 7919 % 50}.png", "text": f"t{n}"} for n in range(50)]
    rows += [{"file_name": "0.png", "text": "again"}]
    table = make_table(rows)
    flags = ("--shuffle", "none", "--samples-per-shard", 20)
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    assert [row["input_row"] for row in rows_of(tmp_path / "out")] == list(range(51))
    assert mmfeat("shard", table, tmp_path / "hash", "--samples-per-shard", 20).returncode == 0
    assert [row["input_row"] for row in rows_of(tmp_path / "hash")] != list(range(51))


def test_pictures_are_resized_and_encoded_as_asked(mmfeat, picture, tmp_path, samples_of, rows_of):
    folder = tmp_path / "raw"
    folder.mkdir()
    Image.new("RGB", (80, 40), "red").save(folder / "wide.jpg")
    Image.new("RGBA", (40, 90), (0, 0, 255, 0)).save(folder / "alpha.png")
    Image.new("P", (16, 16)).save(folder / "small.gif")
    (folder / "bad.png").write_bytes(picture()[:60])
    flags = ("--resize", 32, "--resize-mode", "border", "--encode", "jpg")
    assert mmfeat("shard", folder, tmp_path / "out", *flags).returncode == 0
    samples = samples_of(tmp_path / "out")
    for key in ("wide", "alpha", "small"):
        image = Image.open(io.BytesIO(samples[key]["jpg"]))
        assert (image.format, image.size) == ("JPEG", (32, 32))
    corner = Image.open(io.BytesIO(samples["wide"]["jpg"])).getpixel((0, 0))
    assert min(corner) > 240, "the border is white"
    assert by_key(rows_of(tmp_path / "out"))["bad"]["reason"] == "image:undecodable"
    flags = ("--resize", 32, "--resize-mode", "keep_ratio_largest", "--resize-only-if-bigger")
    assert mmfeat("shard", folder, tmp_path / "kept", *flags).returncode == 0
    samples = samples_of(tmp_path / "kept")
    assert samples["small"]["gif"] == (folder / "small.gif").read_bytes()
    assert Image.open(io.BytesIO(samples["wide"]["jpg"])).size == (32, 16)
    assert Image.open(io.BytesIO(samples["alpha"]["png"])).mode == "RGBA"


def test_of_the_same_bytes_the_first_of_the_input_stays(mmfeat, make_table, tmp_path, rows_of):
    rows = [{"file_name": f"{n}.png", "text": f"t{n}"} for n in range(8)]
    rows[6]["text"] = ""
    table = make_table(rows)
    for name in ("3", "5", "6"):
        (table.parent / f"{name}.png").write_bytes((table.parent / "2.png").read_bytes())
    for flags in ((), ("--samples-per-shard", 3), ("--shuffle", "none")):
        out = tmp_path / "_".join(("out", *map(str, flags)))
        assert mmfeat("shard", table, out, "--dedup", "exact", *flags).returncode == 0
        found = by_key(rows_of(out))
        assert {key: row["status"] for key, row in found.items() if row["status"] != "ok"} == {
            "3": "partial",
            "5": "partial",
            "6": "failed",
        }
        for key in ("3", "5", "6"):
            assert "image:duplicate" in found[key]["reason"]
            assert "the image of 2" in found[key]["error"]
    strict = ("--dedup", "exact", "--require", "image")
    assert mmfeat("shard", table, tmp_path / "strict", *strict).returncode == 0
    found = by_key(rows_of(tmp_path / "strict"))
    assert {key for key, row in found.items() if row["status"] == "failed"} == {"3", "5", "6"}
    assert manifest_of(tmp_path / "strict")["totals"]["out"] == 5


@pytest.mark.parametrize("rate", ["1", "0.8"])
def test_too_many_rejected_records_stop_the_run_early_and_a_higher_rate_finishes_it(
    mmfeat, make_table, tmp_path, whole_of, rate
):
    rows = [{"file_name": f"{n:04}.png"} for n in range(1000)]
    table = make_table(rows, pictures=False)
    for n in range(250):
        Image.new("L", (4, 4), n).save(table.parent / f"{n:04}.png")
    base = ("--shuffle", "none", "--samples-per-shard", 50, "--threads", 1)
    strict = mmfeat("shard", table, tmp_path / "out", *base, "--max-reject-rate", "0.1")
    assert strict.returncode == 1
    assert "--max-reject-rate is 0.1" in strict.stderr
    assert "Traceback" not in strict.stderr
    receipts = sorted((tmp_path / "out").glob("*_stats.json"))
    assert 3 <= len(receipts) < 20
    assert not (tmp_path / "out" / "manifest.json").exists()
    kept = {path: path.read_bytes() for path in receipts}
    lax = mmfeat("shard", table, tmp_path / "out", *base, "--max-reject-rate", rate)
    assert lax.returncode == 0, lax.stderr
    assert {path: path.read_bytes() for path in receipts} == kept
    assert manifest_of(tmp_path / "out")["totals"]["rejected"] == {"image:not_found": 750}
    assert mmfeat("shard", table, tmp_path / "plain", *base).returncode == 0
    assert whole_of(tmp_path / "out") == whole_of(tmp_path / "plain")


def test_a_rate_that_is_met_stops_nothing(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": f"{n:03}.png"} for n in range(150)])
    (table.parent / "000.png").unlink()
    flags = ("--max-reject-rate", "0.01")
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    for rate in ("-0.1", "1.5", "nan", "many"):
        result = mmfeat("shard", table, tmp_path / "bad", "--max-reject-rate", rate)
        assert result.returncode in (1, 2)
        assert "Traceback" not in result.stderr


# Trying failed records again.


@pytest.fixture
def broken_table(make_table):
    """Forty records, of which every fourth lacks its picture and has no text."""
    rows = [{"file_name": f"{n:02}.png", "text": "" if n % 4 == 0 else f"t{n}"} for n in range(40)]
    table = make_table(rows)
    for n in range(0, 40, 4):
        (table.parent / f"{n:02}.png").rename(table.parent / f"{n:02}.away")
    return table


def mend(table, numbers):
    for n in numbers:
        (table.parent / f"{n:02}.away").rename(table.parent / f"{n:02}.png")


FLAGS = ("--samples-per-shard", 10, "--shuffle", "none")


def test_mended_records_come_into_a_further_shard(
    mmfeat, broken_table, tmp_path, rows_of, samples_of
):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    before = {p.name: p.read_bytes() for p in out.glob("0*") if p.suffix != ".json"}
    assert manifest_of(out)["totals"]["out"] == 30
    mend(broken_table, range(0, 40, 4))
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert result.returncode == 0, result.stderr
    manifest = manifest_of(out)
    assert len(manifest["shards"]) == 5
    totals = manifest["totals"]
    assert (totals["records"], totals["out"], totals["rejected"]) == (40, 40, {})
    assert totals["status"] == {"ok": 30, "partial": 10}
    assert totals["problems"] == {"text:missing": 10}
    samples = samples_of(out)
    assert sorted(samples) == [f"{n:02}" for n in range(40)]
    for n in range(40):
        assert samples[f"{n:02}"]["png"] == (broken_table.parent / f"{n:02}.png").read_bytes()
    after = {p.name: p.read_bytes() for p in out.glob("0*") if p.suffix != ".json"}
    assert after.items() >= before.items()
    assert not (out / "_plan").exists()
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert "nothing to do" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times


def test_a_retry_that_mends_nothing_changes_nothing(mmfeat, broken_table, tmp_path, whole_of):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    before = whole_of(out)
    result = mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed")
    assert result.returncode == 0, result.stderr
    after = whole_of(out)
    assert after.pop("manifest.json").pop("totals")["out"] == 30
    del before["manifest.json"]
    assert after == before


def test_records_mended_in_several_steps_are_all_there_at_the_end(
    mmfeat, broken_table, tmp_path, samples_of
):
    out, flags = tmp_path / "out", ("--samples-per-shard", 4, "--shuffle", "none")
    assert mmfeat("shard", broken_table, out, *flags).returncode == 0
    # The first four that are tried stay bad, so that a further shard comes to nothing.
    for numbers in ((16, 20, 24, 28), (0, 4), (8, 12, 32, 36)):
        mend(broken_table, numbers)
        result = mmfeat("shard", broken_table, out, *flags, "--retry-failed")
        assert result.returncode == 0, result.stderr
        listing = [shard["name"] for shard in manifest_of(out)["shards"]]
        assert len(set(listing)) == len(listing)
        assert sorted(path.stem for path in out.glob("*.tar")) == sorted(listing)
        assert len(samples_of(out)) == manifest_of(out)["totals"]["out"]
    assert sorted(samples_of(out)) == [f"{n:02}" for n in range(40)]
    assert manifest_of(out)["totals"]["rejected"] == {}


def test_further_shards_hold_no_more_bytes_than_asked(mmfeat, broken_table, tmp_path):
    out, flags = tmp_path / "out", ("--max-shard-bytes", 5000)
    assert mmfeat("shard", broken_table, out, *flags).returncode == 0
    first = len(manifest_of(out)["shards"])
    mend(broken_table, range(0, 40, 4))
    for path in broken_table.parent.glob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0" * 2000)
    assert mmfeat("shard", broken_table, out, *flags, "--retry-failed").returncode == 0
    further = manifest_of(out)["shards"][first:]
    assert [shard["records"] for shard in further] == [1] * 10


def test_the_plain_command_finds_nothing_to_do_after_a_retry(
    mmfeat, broken_table, tmp_path, whole_of
):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    mend(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    before = whole_of(out)
    result = mmfeat("shard", broken_table, out, *FLAGS)
    assert (result.returncode, "nothing to do" in result.stdout) == (0, True)
    assert whole_of(out) == before


def test_a_lost_shard_of_a_store_that_was_retried_is_told_and_none_is_forgotten(
    mmfeat, broken_table, tmp_path, whole_of
):
    out = tmp_path / "out"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    mend(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    listing = manifest_of(out)["shards"]
    (out / "00002.tar").rename(tmp_path / "00002.tar")
    line = one_line_of(mmfeat("shard", broken_table, out, *FLAGS))
    assert "a shard of" in line
    assert "'00002'. Bring its files back" in line
    (tmp_path / "00002.tar").rename(out / "00002.tar")
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    assert manifest_of(out)["shards"] == listing
    assert manifest_of(out)["totals"]["out"] == 33


def test_what_was_dropped_as_a_duplicate_is_not_brought_back_by_a_retry(
    mmfeat, make_table, tmp_path, samples_of
):
    table = make_table([{"file_name": f"{n}.png"} for n in range(6)])
    (table.parent / "4.png").write_bytes((table.parent / "1.png").read_bytes())
    (table.parent / "5.png").unlink()
    flags = ("--dedup", "exact")
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    assert sorted(samples_of(tmp_path / "out")) == ["0", "1", "2", "3"]
    (table.parent / "5.png").write_bytes(Path(table.parent / "0.png").read_bytes() + b"more")
    assert mmfeat("shard", table, tmp_path / "out", *flags, "--retry-failed").returncode == 0
    assert sorted(samples_of(tmp_path / "out")) == ["0", "1", "2", "3", "5"]


def test_a_retry_needs_a_finished_store(mmfeat, toy_table, tmp_path):
    line = one_line_of(mmfeat("shard", toy_table, tmp_path / "out", "--retry-failed"))
    assert "finished store" in line


def test_a_retry_killed_in_the_middle_goes_on(
    mmfeat, mmfeat_process, make_table, web_pictures, tmp_path, samples_of, whole_of
):
    names = [f"{n:03}.png" for n in range(400)]
    web_pictures.missing.update(names[::2])
    rows = [
        {"url": web_pictures.url(name), "text": "t" if n % 2 else ""}
        for n, name in enumerate(names)
    ]
    table = make_table(rows, pictures=False)
    flags = ("--samples-per-shard", 10)
    for name in ("whole", "out"):
        assert mmfeat("shard", table, tmp_path / name, *flags).returncode == 0
    web_pictures.missing.intersection_update({"000.png"})
    arguments = ("shard", table, tmp_path / "out", *flags, "--retry-failed")
    web_pictures.hold_after(100)
    process = mmfeat_process(*arguments)
    assert wait_for(process, (tmp_path / "out" / "00043_stats.json").exists)
    assert kill(process)
    web_pictures.free.set()
    assert mmfeat(*arguments).returncode == 0
    assert mmfeat("shard", table, tmp_path / "whole", *flags, "--retry-failed").returncode == 0
    assert whole_of(tmp_path / "out") == whole_of(tmp_path / "whole")
    assert len(samples_of(tmp_path / "out")) == 399
    assert manifest_of(tmp_path / "out")["totals"]["rejected"] == {
        "image:not_found, text:missing": 1
    }


def test_features_made_before_a_retry_are_made_for_the_further_shard_alone(
    mmfeat, broken_table, tmp_path
):
    out, features = tmp_path / "out", tmp_path / "features"
    assert mmfeat("shard", broken_table, out, *FLAGS).returncode == 0
    encoder = ("--encoder", "image=builtin:image")
    assert mmfeat("extract", out, features, *encoder).returncode == 0
    before = {p: p.stat().st_mtime_ns for p in features.rglob("0*")}
    mend(broken_table, (0, 4, 8))
    assert mmfeat("shard", broken_table, out, *FLAGS, "--retry-failed").returncode == 0
    result = mmfeat("extract", out, features, *encoder)
    assert result.returncode == 0, result.stderr
    after = {p: p.stat().st_mtime_ns for p in features.rglob("0*")}
    assert after.items() >= before.items()
    assert {path.stem[:5] for path in after.keys() - before.keys()} == {"00004"}
    manifest = read_manifest(str(features), "features")
    assert [shard["name"] for shard in manifest["shards"]][-1] == "00004"
    assert manifest["shards"][-1]["records"] == 3


def test_a_record_that_was_tried_again_counts_once_in_every_later_stage(
    mmfeat, make_table, tmp_path
):
    rows = [
        {"file_name": f"{n:02}.png", "label": "ab"[n % 2], "split": ("train", "val", "test")[n % 3]}
        for n in range(40)
    ]
    table = make_table(rows)
    for n in range(0, 40, 4):
        (table.parent / f"{n:02}.png").rename(table.parent / f"{n:02}.away")
    shards, features, model, predictions = (tmp_path / name for name in "sfmp")
    steps = (
        ("shard", table, shards, *FLAGS, "--retry-failed"),
        ("extract", shards, features),
        ("score", model, features, predictions),
    )
    assert mmfeat(*steps[0][:-1]).returncode == 0
    assert mmfeat(*steps[1]).returncode == 0
    train = ("--target", "label", "--epochs", 1)
    assert mmfeat("train", features, model, *train).returncode == 0
    assert mmfeat(*steps[2]).returncode == 0
    for numbers, failed in (((0, 4), 8), ((8,), 7)):
        mend(table, numbers)
        for step in steps:
            result = mmfeat(*step)
            assert result.returncode == 0, result.stderr
        for folder, kind in ((shards, "shards"), (features, "features"), (predictions, None)):
            kind = kind or "predictions"
            totals = read_manifest(str(folder), kind)["totals"]
            assert (totals["records"], totals["out"]) == (40, 40 - failed)
            assert totals["rejected"] == {"image:not_found": failed}
        column = read_manifest(str(features), "features")["totals"]["columns"]["image"]
        assert (column["records"], column["out"]) == (40, 40 - failed)
        assert column["rejected"] == {"not_found": failed}
        scored = [
            row
            for path in sorted(predictions.glob("*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        assert len(scored) == len({row["__key__"] for row in scored}) == 40
        assert sum(row["status"] == "failed" for row in scored) == failed
        result = mmfeat("evaluate", model, features, "--split", "all", "--json")
        figures = json.loads(result.stdout)
        assert (figures["rows"], figures["left_out"]) == (40 - failed, {"no modality": failed})


# Bounds, names and characters.


def test_a_picture_of_a_hundred_megabytes_is_kept_unless_the_bound_is_lower(
    mmfeat, make_table, tmp_path, rows_of, picture
):
    table = make_table([{"file_name": "big.png"}, {"file_name": "small.png"}])
    with (table.parent / "big.png").open("wb") as file:
        file.write(picture())
        file.truncate(100_000_000)
    assert mmfeat("shard", table, tmp_path / "out").returncode == 0
    assert {row["status"] for row in rows_of(tmp_path / "out")} == {"ok"}
    assert (tmp_path / "out" / "00000.tar").stat().st_size > 100_000_000
    flags = ("--max-file-bytes", 50_000_000)
    assert mmfeat("shard", table, tmp_path / "low", *flags).returncode == 0
    found = by_key(rows_of(tmp_path / "low"))
    assert found["big"]["reason"] == "image:too_large"
    assert found["small"]["status"] == "ok"


UNICODE = [
    "日本語のキー",
    "naïve café",
    "nai\u0308ve cafe\u0301",
    "👩‍👩‍👧‍👦",
    "עברית العربية",
    "soft\xadhyphen",
    "\ufeffmark",
    "full　width",
    "Straße",
    "STRASSE",
    "ﬁ",
    "a b",
    "a%20b",
    "$HOME;`ls`",
    "__key__",
    "<b>&amp;</b>",
    "-rf",
]


def test_keys_names_and_texts_of_any_script_come_out_byte_for_byte(
    mmfeat, make_table, tmp_path, rows_of, samples_of
):
    texts = [f"{word}\n{word}\ttab\x00nul\x1b[31m\x7f\x85\u2028 {word}" for word in UNICODE]
    rows = [
        {"id": f"k{n}", "file_name": f"{word}.png", "text": text, word: text}
        for n, (word, text) in enumerate(zip(UNICODE, texts, strict=True))
    ]
    columns = ["id", "file_name", "text", *UNICODE]
    table = make_table([{c: row.get(c, "") for c in columns} for row in rows])
    result = mmfeat("shard", table, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    samples = samples_of(tmp_path / "out")
    found = {row["input_row"]: row for row in rows_of(tmp_path / "out")}
    for n, (word, text) in enumerate(zip(UNICODE, texts, strict=True)):
        key = found[n]["__key__"]
        if not set(word) & set("<>"):
            assert key.encode() == word.strip().encode()
        assert found[n]["status"] == "ok", found[n]
        assert samples[key]["txt"] == text.encode()
        assert json.loads(samples[key]["json"])[word] == text
        column = f"meta_{word}" if word == "__key__" else word
        assert found[n][column] == text
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert samples_of(tmp_path / "again") == samples


def test_keys_that_differ_in_case_alone_stay_two_records(mmfeat, tmp_path, make_table, samples_of):
    words = ["Cat", "cat", "CAT", "cAT"]
    table = make_table([{"id": word, "text": f"a {word}"} for word in words], pictures=False)
    assert mmfeat("shard", table, tmp_path / "out", "--key-column", "id").returncode == 0
    samples = samples_of(tmp_path / "out")
    assert {key: sample["txt"].decode() for key, sample in samples.items()} == {
        word: f"a {word}" for word in words
    }


def test_very_long_names_are_kept_apart(mmfeat, tmp_path, make_table, samples_of, rows_of):
    ends = [("x" * 99), "x" * 199, "x" * 200, "x" * 201, "x" * 5000, "x" * 5001, "日" * 3000]
    table = make_table([{"id": end, "text": f"t{n}"} for n, end in enumerate(ends)], pictures=False)
    assert mmfeat("shard", table, tmp_path / "out", "--key-column", "id").returncode == 0
    samples = samples_of(tmp_path / "out")
    for row in rows_of(tmp_path / "out"):
        key, end = row["__key__"], ends[row["input_row"]]
        assert len(key.encode()) <= 200
        assert samples[key]["txt"].decode() == f"t{row['input_row']}"
        assert row["id"] == end
        assert len(end.encode()) > 200 or key == end
    assert len(samples) == len(ends)


def test_long_paths_of_a_folder_are_kept(mmfeat, tmp_path, picture, samples_of):
    deep = tmp_path / "raw" / "/".join(["d" * 80] * 6)
    deep.mkdir(parents=True)
    (deep / f"{'f' * 150}.png").write_bytes(picture())
    assert mmfeat("shard", tmp_path / "raw", tmp_path / "out").returncode == 0
    (key,) = samples_of(tmp_path / "out")
    assert key == str((deep / ("f" * 150)).relative_to(tmp_path / "raw"))


def test_whole_numbers_and_fractions_of_any_size_share_a_column(mmfeat, tmp_path, rows_of):
    numbers = [2**53 + 1, 1.5, 2**63 - 1, -(2**63), 0, None, 1e300]
    lines = [json.dumps({"text": f"t{n}", "x": number}) for n, number in enumerate(numbers)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = {row["input_row"]: row["x"] for row in rows_of(tmp_path / "out")}
    assert [found[n] for n in range(7)] == [None if x is None else float(x) for x in numbers]


def test_a_table_that_is_no_utf_8_keeps_its_columns(mmfeat, tmp_path, rows_of):
    with (tmp_path / "t.csv").open("w", encoding="latin-1", newline="") as file:
        csv.writer(file).writerows([["text", "größe", "name"], ["plain", "1", "Müller"]])
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (row,) = rows_of(tmp_path / "out")
    assert row["name"] == "M\\udcfcller"
    assert row["gr\\udcf6\\udcdfe"] == "1"
