import io
import os
import tarfile

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmfeat.store.manifest import read_manifest
from tests.faults import assert_one_error


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


def by_key(rows):
    return {row["__key__"]: row for row in rows}


def test_shards_respect_max_shard_bytes(mmfeat, make_table, tmp_path, read_rows):
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
    assert [row["input_row"] for row in read_rows(tmp_path / "out")] == list(range(20))


def test_a_folder_called_http_is_no_server(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": f"httpdata/{n}.png", "text": "x"} for n in range(9)])
    for name, flags in {"out": (), "dry": ("--dry-run",)}.items():
        result = mmfeat("shard", table, tmp_path / name, "--max-shard-bytes", 5000, *flags)
        assert result.returncode == 0, result.stderr
        assert "unknown size" not in result.stdout
    assert len(manifest_of(tmp_path / "out")["shards"]) > 1


def test_paths_may_have_colons(mmfeat, make_table, tmp_path, read_rows):
    table = make_table([{"file_name": f"{n}.png", "text": "x"} for n in range(4)], "a::b/t.csv")
    folder = table.parent
    keys, config = folder / "keys::1.txt", folder / "c::1.yaml"
    keys.write_text("1\n2\n")
    config.write_text("samples_per_shard: 1\n")
    for name, source in {"1": table, "2": folder, "3": tmp_path / "out::1"}.items():
        out = tmp_path / f"out::{name}"
        result = mmfeat("shard", source, out, "--config", config, "--keys", keys)
        assert result.returncode == 0, result.stderr
        assert {row["__key__"] for row in read_rows(out)} == {"1", "2"}
        assert len(manifest_of(out)["shards"]) == 2


def test_shard_names_follow_the_pattern(mmfeat, toy_table, tmp_path, read_samples):
    flags = ("--shard-name", "cats2-%03d_v1", "--samples-per-shard", 25)
    assert mmfeat("shard", toy_table, tmp_path / "out", *flags).returncode == 0
    names = [f"cats2-{n:03}_v1" for n in range(3)]
    assert [shard["name"] for shard in manifest_of(tmp_path / "out")["shards"]] == names
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.tar")) == names
    assert "nothing to do" in mmfeat("shard", toy_table, tmp_path / "out", *flags).stdout
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert read_samples(tmp_path / "again") == read_samples(tmp_path / "out")


@pytest.mark.parametrize("name", ["shard", "../%05d", "a/%05d", "%d", "%05d%05d", "%05s", ".%05d"])
def test_a_wrong_shard_name_is_refused(mmfeat, toy_table, tmp_path, name):
    assert "--shard-name" in assert_one_error(
        mmfeat("shard", toy_table, tmp_path / "out", "--shard-name", name)
    )


def test_without_shuffle_the_input_order_is_kept(mmfeat, make_table, tmp_path, read_rows):
    rows = [{"file_name": f"{n * 7919 % 50}.png", "text": f"t{n}"} for n in range(50)]
    rows += [{"file_name": "0.png", "text": "again"}]
    table = make_table(rows)
    flags = ("--shuffle", "none", "--samples-per-shard", 20)
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    assert [row["input_row"] for row in read_rows(tmp_path / "out")] == list(range(51))
    assert mmfeat("shard", table, tmp_path / "hash", "--samples-per-shard", 20).returncode == 0
    assert [row["input_row"] for row in read_rows(tmp_path / "hash")] != list(range(51))


def test_pictures_are_resized_and_encoded(mmfeat, picture, tmp_path, read_samples, read_rows):
    folder = tmp_path / "raw"
    folder.mkdir()
    Image.new("RGB", (80, 40), "red").save(folder / "wide.jpg")
    Image.new("RGBA", (40, 90), (0, 0, 255, 0)).save(folder / "alpha.png")
    Image.new("P", (16, 16)).save(folder / "small.gif")
    (folder / "bad.png").write_bytes(picture()[:60])
    flags = ("--resize", 32, "--resize-mode", "border", "--encode", "jpg")
    assert mmfeat("shard", folder, tmp_path / "out", *flags).returncode == 0
    samples = read_samples(tmp_path / "out")
    for key in ("wide", "alpha", "small"):
        image = Image.open(io.BytesIO(samples[key]["jpg"]))
        assert (image.format, image.size) == ("JPEG", (32, 32))
    corner = Image.open(io.BytesIO(samples["wide"]["jpg"])).getpixel((0, 0))
    assert min(corner) > 240, "the border is white"
    assert by_key(read_rows(tmp_path / "out"))["bad"]["reason"] == "image:undecodable"
    flags = ("--resize", 32, "--resize-mode", "keep_ratio_largest", "--resize-only-if-bigger")
    assert mmfeat("shard", folder, tmp_path / "kept", *flags).returncode == 0
    samples = read_samples(tmp_path / "kept")
    assert samples["small"]["gif"] == (folder / "small.gif").read_bytes()
    assert Image.open(io.BytesIO(samples["wide"]["jpg"])).size == (32, 16)
    assert Image.open(io.BytesIO(samples["alpha"]["png"])).mode == "RGBA"


def test_of_duplicates_the_first_is_kept(mmfeat, make_table, tmp_path, read_rows):
    rows = [{"file_name": f"{n}.png", "text": f"t{n}"} for n in range(8)]
    rows[6]["text"] = ""
    table = make_table(rows)
    for name in ("3", "5", "6"):
        (table.parent / f"{name}.png").write_bytes((table.parent / "2.png").read_bytes())
    for flags in ((), ("--samples-per-shard", 3), ("--shuffle", "none")):
        out = tmp_path / "_".join(("out", *map(str, flags)))
        assert mmfeat("shard", table, out, "--dedup", "exact", *flags).returncode == 0
        statuses = by_key(read_rows(out))
        assert {key: row["status"] for key, row in statuses.items() if row["status"] != "ok"} == {
            "3": "partial",
            "5": "partial",
            "6": "failed",
        }
        for key in ("3", "5", "6"):
            assert "image:duplicate" in statuses[key]["reason"]
            assert "the image of 2" in statuses[key]["error"]
    strict = ("--dedup", "exact", "--require", "image")
    assert mmfeat("shard", table, tmp_path / "strict", *strict).returncode == 0
    statuses = by_key(read_rows(tmp_path / "strict"))
    assert {key for key, row in statuses.items() if row["status"] == "failed"} == {"3", "5", "6"}
    assert manifest_of(tmp_path / "strict")["totals"]["out"] == 5


@pytest.mark.parametrize("rate", ["1", "0.8"])
def test_too_many_rejected_records_stop_the_run(mmfeat, make_table, tmp_path, snapshot, rate):
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
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "plain")


def test_a_low_reject_rate_does_not_stop_the_run(mmfeat, make_table, tmp_path):
    table = make_table([{"file_name": f"{n:03}.png"} for n in range(150)])
    (table.parent / "000.png").unlink()
    flags = ("--max-reject-rate", "0.01")
    assert mmfeat("shard", table, tmp_path / "out", *flags).returncode == 0
    for rate in ("-0.1", "1.5", "nan", "many"):
        result = mmfeat("shard", table, tmp_path / "bad", "--max-reject-rate", rate)
        assert result.returncode in (1, 2)
        assert "Traceback" not in result.stderr


def test_max_file_bytes_rejects_large_files(mmfeat, make_table, tmp_path, read_rows, picture):
    table = make_table([{"file_name": "big.png"}, {"file_name": "small.png"}])
    with (table.parent / "big.png").open("wb") as file:
        file.write(picture())
        file.truncate(100_000_000)
    assert mmfeat("shard", table, tmp_path / "out").returncode == 0
    assert {row["status"] for row in read_rows(tmp_path / "out")} == {"ok"}
    assert (tmp_path / "out" / "00000.tar").stat().st_size > 100_000_000
    flags = ("--max-file-bytes", 50_000_000)
    assert mmfeat("shard", table, tmp_path / "low", *flags).returncode == 0
    statuses = by_key(read_rows(tmp_path / "low"))
    assert statuses["big"]["reason"] == "image:too_large"
    assert statuses["small"]["status"] == "ok"
