"""What the rows of a table may make mmfeat read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.store.manifest import read_manifest
from tests.faults import assert_one_error

SPELLINGS = (
    "../secret.png",
    "link.png",
    "linked/secret.png",
    "file://{top}/secret.png",
    "LOCAL://{top}/secret.png",
    "zip://secret.png::{top}/secret.zip",
    "simplecache::file://{top}/secret.png",
    "reference://secret.png::file://{top}/reference.json",
    "memory://secret.png",
)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def folder(tmp_path, picture):
    """A folder with a picture, beside a secret picture that links lead to."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "good.png").write_bytes(picture())
    (tmp_path / "secret.png").write_bytes(picture((1, 2, 3)))
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "linked").symlink_to(tmp_path)
    return folder


def paths_of(folder):
    return ["good.png", *(path.replace("{top}", str(folder.parent)) for path in SPELLINGS)]


def write_table(path, paths):
    rows = [{"image": path, "n": n} for n, path in enumerate(paths)]
    if path.suffix == ".parquet":
        cells = [{"bytes": None, "path": row["image"]} for row in rows]
        table = {"image": pa.array(cells, STRUCT), "n": [row["n"] for row in rows]}
        pq.write_table(pa.table(table), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reasons(rows):
    return {row["n"]: row["image_status"] for row in rows}


@pytest.mark.parametrize("name", ["table.jsonl", "table.parquet", "metadata.jsonl"])
def test_no_spelling_reads_a_file_outside(mmfeat, folder, tmp_path, read_rows, name):
    table = write_table(folder / name, paths_of(folder))
    source = folder if name.startswith("metadata") else table
    result = mmfeat("shard", source, tmp_path / "out", "--validate", "none", "--processes", 2)
    assert result.returncode == 0, result.stderr
    outside = dict.fromkeys(range(1, 1 + len(SPELLINGS)), "outside")
    rows = read_rows(tmp_path / "out")
    assert reasons(rows) == {0: "ok", **outside}
    assert all(row["error"] and "image:outside" in row["error"] for row in rows if row["n"])


def test_the_plan_of_duplicates_reads_no_file_outside(mmfeat, folder, tmp_path, read_rows):
    table = write_table(folder / "t.jsonl", ["good.png", "link.png"])
    result = mmfeat("shard", table, tmp_path / "out", "--dedup", "exact")
    assert result.returncode == 0, result.stderr
    assert reasons(read_rows(tmp_path / "out")) == {0: "ok", 1: "outside"}


def test_a_note_names_the_flag(mmfeat, folder, tmp_path):
    table = write_table(folder / "t.jsonl", ["good.png", "../secret.png"])
    result = mmfeat("shard", table, tmp_path / "out")
    assert "1 of the first 2 rows name a file outside" in result.stderr
    assert "--allow-outside permits it" in result.stderr


def test_flags_permit_what_they_name(mmfeat, folder, tmp_path, read_rows):
    table = write_table(folder / "t.jsonl", paths_of(folder)[:6])
    flags = {"1": ["--allow-outside"], "2": ["--allow-protocol", "file"]}
    for name, arguments in flags.items():
        result = mmfeat("shard", table, tmp_path / name, *arguments)
        assert result.returncode == 0, result.stderr
        assert set(reasons(read_rows(tmp_path / name)).values()) == {"ok"}


def test_other_flags_are_another_configuration(mmfeat, folder, tmp_path):
    table = write_table(folder / "t.jsonl", ["good.png"])
    assert mmfeat("shard", table, tmp_path / "out").returncode == 0
    flags = ("--allow-outside", "--allow-private", "--ignore-robots-tag", "--allow-protocol=s3")
    for flag in flags:
        error = assert_one_error(mmfeat("shard", table, tmp_path / "out", flag))
        assert f"{flag.partition('=')[0]} was" in error


def test_unknown_protocols_are_refused(mmfeat, folder, tmp_path):
    table = write_table(folder / "t.jsonl", ["good.png"])
    result = mmfeat("shard", table, tmp_path / "out", "--allow-protocol", "s4")
    assert "--allow-protocol must name a protocol" in assert_one_error(result)


def test_private_web_servers_need_a_flag(mmfeat, folder, tmp_path, picture_server, read_rows):
    urls = [picture_server.url("a.png"), "http://169.254.169.254/latest", "good.png"]
    table = write_table(folder / "t.jsonl", urls)
    assert mmfeat("shard", table, tmp_path / "1").returncode == 0
    assert reasons(read_rows(tmp_path / "1")) == {
        0: "forbidden_address",
        1: "forbidden_address",
        2: "ok",
    }
    assert not picture_server.requests
    assert read_manifest(str(tmp_path / "1"), "shards")["totals"]["rejected"] == {
        "image:forbidden_address": 2
    }
    result = mmfeat("shard", table, tmp_path / "2", "--allow-private")
    assert reasons(read_rows(tmp_path / "2")) == {0: "ok", 1: "forbidden_address", 2: "ok"}
    assert "Try them again" not in result.stdout


def test_pictures_that_their_server_excludes_need_a_flag(
    mmfeat, folder, tmp_path, picture_server, read_rows
):
    picture_server.headers = {"a.png": {"X-Robots-Tag": "noai, noimageai"}}
    urls = [picture_server.url("a.png"), picture_server.url("b.png")]
    table = write_table(folder / "t.jsonl", urls)
    arguments = ("shard", table, "--allow-private")
    assert mmfeat(*arguments, tmp_path / "1").returncode == 0
    assert reasons(read_rows(tmp_path / "1")) == {0: "robots_tag", 1: "ok"}
    assert picture_server.requests["a.png"] == 1
    assert mmfeat(*arguments, tmp_path / "2", "--ignore-robots-tag").returncode == 0
    assert set(reasons(read_rows(tmp_path / "2")).values()) == {"ok"}


def test_links_of_a_folder_are_followed(mmfeat, folder, tmp_path, read_rows):
    result = mmfeat("shard", folder, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    statuses = {row["__key__"]: row["image_status"] for row in read_rows(tmp_path / "out")}
    assert statuses["link"] == "ok"
