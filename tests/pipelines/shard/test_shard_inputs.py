import base64
import csv
import functools
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmfeat.store.directory import read_manifest


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def served(tmp_path):
    """A web server on this machine: its folder, its address, and what it was asked for."""
    folder = tmp_path / "www"
    folder.mkdir()
    asked, broken = [], {}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if broken.get(self.path, 0):
                broken[self.path] -= 1
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked, broken
    server.shutdown()
    thread.join()
    server.server_close()


def test_spoken_digits_go_in_and_come_out(mmfeat, real_data, rows_of, samples_of, tmp_path):
    folder = real_data("spoken_digits")
    with (folder / "metadata.csv").open() as file:
        table = list(csv.DictReader(file))
    result = mmfeat("shard", folder / "metadata.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    totals = manifest_of(tmp_path / "out")["totals"]
    assert (totals["records"], totals["out"], totals["rejected"]) == (len(table), len(table), {})
    assert len(table) == 2500
    assert manifest_of(tmp_path / "out")["slots"] == ["audio", "text"]
    samples, rows = samples_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert {row["input_row"] for row in rows} == set(range(2500))
    assert all(row["status"] == "ok" for row in rows)
    for row in rows:
        asked = table[row["input_row"]]
        assert row["__key__"] == Path(asked["file_name"]).stem
        assert samples[row["__key__"]]["wav"] == (folder / asked["file_name"]).read_bytes()
        assert samples[row["__key__"]]["txt"].decode() == asked["text"]
        assert row["speaker"] == asked["speaker"]


def test_the_folder_of_a_metadata_csv_is_the_same_as_the_table(
    mmfeat, toy_table, tmp_path, rows_of
):
    toy_table.rename(toy_table.parent / "metadata.csv")
    assert mmfeat("shard", toy_table.parent, tmp_path / "folder").returncode == 0
    table = toy_table.parent / "metadata.csv"
    assert mmfeat("shard", table, tmp_path / "table").returncode == 0
    assert rows_of(tmp_path / "folder") == rows_of(tmp_path / "table")
    tars = [(tmp_path / name / "00000.tar").read_bytes() for name in ("folder", "table")]
    assert tars[0] == tars[1]


def test_splits_of_a_folder_with_a_metadata_file_each_are_told(
    mmfeat, make_table, tmp_path, rows_of
):
    make_table([{"file_name": "a.png", "text": "one"}], "raw/train/metadata.csv")
    make_table([{"file_name": "b.png", "text": "two"}], "raw/test/metadata.csv")
    assert mmfeat("shard", tmp_path / "raw", tmp_path / "out").returncode == 0
    assert {row["__key__"]: row["split"] for row in rows_of(tmp_path / "out")} == {
        "a": "train",
        "b": "test",
    }


def test_a_hugging_face_table_keeps_its_bytes_and_its_order(
    mmfeat, picture, tmp_path, rows_of, samples_of
):
    pictures = [picture((n, 10, 10)) for n in range(50)]
    cells = [{"bytes": data, "path": f"p{n:02}.png"} for n, data in enumerate(pictures)]
    cells[7] = {"bytes": None, "path": "beside.png"}
    cells[8] = None
    cells[9] = {"bytes": b"", "path": "none.png"}
    (tmp_path / "beside.png").write_bytes(pictures[7])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {"image": pa.array(cells, kind), "text": [f"t{n}" for n in range(50)], "n": range(50)}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=11)
    for shuffle in ("auto", "hash"):
        out = tmp_path / shuffle
        arguments = ("--samples-per-shard", 20, "--shuffle", shuffle)
        result = mmfeat("shard", tmp_path / "t.parquet", out, *arguments)
        assert result.returncode == 0, result.stderr
        rows, samples = rows_of(out), samples_of(out)
        assert ([row["n"] for row in rows] == list(range(50))) == (shuffle == "auto")
        by_number = {row["n"]: row for row in rows}
        for n in set(range(50)) - {8, 9}:
            assert samples[by_number[n]["__key__"]]["png"] == pictures[n]
        assert by_number[8]["reason"] == "image:missing"
        assert by_number[9]["reason"] == "image:empty"


def test_base64_in_json_lines_is_decoded(mmfeat, picture, tmp_path, samples_of, rows_of):
    data = picture((1, 2, 3), kind="JPEG")
    text = base64.b64encode(data).decode()
    lines = [
        {"id": "plain", "image": text, "text": "a"},
        {"id": "url", "image": f"data:image/jpeg;base64,{text}", "text": "b"},
        {"id": "struct", "image": {"bytes": text, "path": "x.jpg"}, "text": "c"},
        {"id": "cut", "image": f"data:image/jpeg;base64,{text[:-5]}", "text": "d"},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out", "--key-column", "id")
    assert result.returncode == 0, result.stderr
    samples = samples_of(tmp_path / "out")
    for key in ("plain", "url", "struct"):
        assert next(v for e, v in samples[key].items() if e in ("jpg", "jpeg")) == data
        assert len(samples[key]) == 3
        assert text not in samples[key]["json"].decode()
    reasons = {row["__key__"]: row["reason"] for row in rows_of(tmp_path / "out")}
    assert reasons["cut"] == "image:undecodable"


def test_pictures_of_a_web_server_are_fetched_or_say_why_not(
    mmfeat, served, picture, tmp_path, rows_of, samples_of
):
    folder, address, asked, broken = served
    for n in range(12):
        (folder / f"p{n}.png").write_bytes(picture((n, 0, 0)))
    (folder / "page.png").write_text("<html>no picture</html>")
    (folder / "nothing.png").write_bytes(b"")
    broken["/p3.png"], broken["/p4.png"] = 1, 9
    names = [*(f"p{n}.png?size=1" for n in range(3)), *(f"p{n}.png" for n in range(3, 12))]
    urls = [f"{address}/{name}" for name in [*names, "page.png", "nothing.png", "gone.png"]]
    urls.append("http://127.0.0.1:9/refused.png")
    lines = "".join(f"{url},words {n}\n" for n, url in enumerate(urls))
    (tmp_path / "t.csv").write_text("url,text\n" + lines)
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out", "--http-retries", 1)
    assert result.returncode == 0, result.stderr
    rows = {row["__key__"]: row for row in rows_of(tmp_path / "out")}
    samples = samples_of(tmp_path / "out")
    for n in {*range(12)} - {4}:
        assert rows[f"p{n}"]["status"] == "ok"
        assert samples[f"p{n}"]["png"] == (folder / f"p{n}.png").read_bytes()
    assert {key: rows[key]["reason"] for key in ("p4", "page", "nothing", "gone", "refused")} == {
        "p4": "image:unreadable",
        "page": "image:undecodable",
        "nothing": "image:empty",
        "gone": "image:not_found",
        "refused": "image:unreadable",
    }
    assert "503" in rows["p4"]["error"]
    assert asked.count("/p4.png") == 2


@pytest.fixture
def mixed_store(mmfeat, make_table, tmp_path):
    """A finished store of ours with records of every fate, keys with marks, several shards."""
    rows = [
        {"file_name": f"p{n:02}.png", "text": f"words {n}", "label": str(n % 3), "n": n}
        for n in range(20)
    ]
    rows[3]["text"] = ""
    rows[5] |= {"file_name": "lost.png", "text": ""}
    rows[6] |= {"file_name": "gone.png"}
    rows[7] |= {"file_name": "p00.png"}
    rows[8] |= {"file_name": "two words　and 👩‍👩‍👧 é.png"}
    rows[9] |= {"file_name": "two words　and 👩‍👩‍👧 é.png"}
    rows[10] |= {"file_name": "soft\xadhyphen.png", "text": "tab\tand\x00nul"}
    table = make_table(rows)
    for name in ("lost.png", "gone.png"):
        (table.parent / name).unlink()
    assert mmfeat("shard", table, tmp_path / "first", "--samples-per-shard", 6).returncode == 0
    return tmp_path / "first"


def test_a_store_sharded_anew_has_the_same_samples_and_still_accounts_for_failed_ones(
    mmfeat, mixed_store, tmp_path, rows_of, samples_of
):
    result = mmfeat("shard", mixed_store, tmp_path / "second", "--samples-per-shard", 9)
    assert result.returncode == 0, result.stderr
    assert samples_of(tmp_path / "second") == samples_of(mixed_store)
    fate = ("status", "reason", "image_sha256", "label", "n")
    before = {row["__key__"]: [row[name] for name in fate] for row in rows_of(mixed_store)}
    after = {row["__key__"]: [row[name] for name in fate] for row in rows_of(tmp_path / "second")}
    assert after == before
    first, second = manifest_of(mixed_store), manifest_of(tmp_path / "second")
    for name in ("records", "out", "rejected", "status", "problems"):
        assert second["totals"][name] == first["totals"][name]
    assert second["columns"] == first["columns"]


def test_metadata_of_a_failed_record_is_the_same_after_sharding_anew_twice(
    mmfeat, make_table, tmp_path, rows_of
):
    values = [[1, 2], {"y": None}, "s", 7, {"y": "failed"}]
    lines = [{"image": f"{n}.png", "x": x, "status": x, "n": n / 2} for n, x in enumerate(values)]
    make_table([{"file_name": f"{n}.png"} for n in range(4)])
    table = tmp_path / "raw" / "t.jsonl"
    table.write_text("\n".join(map(json.dumps, lines)))
    for source, name in ((table, "one"), (tmp_path / "one", "two"), (tmp_path / "two", "three")):
        assert mmfeat("shard", source, tmp_path / name).returncode == 0
    one, two, three = (rows_of(tmp_path / name) for name in ("one", "two", "three"))
    assert {row["__key__"]: json.loads(row["x"]) for row in one} == {
        str(n): x for n, x in enumerate(values)
    }
    for rows in (one, two, three):
        for row in rows:
            del row["input_row"]
    assert one == two == three


def test_sharded_anew_with_the_same_shape_the_tars_are_the_same_bytes(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "first", "--samples-per-shard", 25)
    mmfeat("shard", tmp_path / "first", tmp_path / "second", "--samples-per-shard", 25)
    for name in ("00000.tar", "00001.tar", "00002.tar"):
        first, second = tmp_path / "first" / name, tmp_path / "second" / name
        assert first.read_bytes() == second.read_bytes()


def test_two_stores_are_merged_by_braces(mmfeat, make_table, tmp_path, samples_of):
    for name in ("one", "two"):
        table = make_table(
            [{"file_name": f"{name}{n}.png", "text": f"{name} {n}"} for n in range(12)]
            + [{"file_name": "same.png", "text": f"of {name}"}],
            f"raw/{name}/t.csv",
        )
        arguments = ("--samples-per-shard", 5)
        assert mmfeat("shard", table, tmp_path / name, *arguments).returncode == 0
    pattern = f"{tmp_path}/{{one,two}}/{{00000..00002}}.tar"
    result = mmfeat("shard", pattern, tmp_path / "both")
    assert result.returncode == 0, result.stderr
    both, one, two = (samples_of(tmp_path / name) for name in ("both", "one", "two"))
    assert len(both) == len(one) + len(two) == 26
    shared = {key for key in both if key.startswith("same")}
    assert len(shared) == 2
    assert {both[key]["txt"] for key in shared} == {b"of one", b"of two"}
    assert both.items() >= {key: s for key, s in (one | two).items() if key != "same"}.items()
    glob = mmfeat("shard", f"{tmp_path}/[ot]*/*.tar", tmp_path / "glob")
    assert glob.returncode == 0, glob.stderr
    assert samples_of(tmp_path / "glob") == both


def test_a_store_is_filtered_by_a_condition_and_by_keys(
    mmfeat, mixed_store, tmp_path, samples_of, rows_of
):
    whole = samples_of(mixed_store)
    result = mmfeat(
        "shard", mixed_store, tmp_path / "where", "--where", 'label == "1" and int(n) > 9'
    )
    assert result.returncode == 0, result.stderr
    assert {row["n"] for row in rows_of(tmp_path / "where")} == {"10", "13", "16", "19"}
    assert samples_of(tmp_path / "where").items() <= whole.items()
    assert "not selected" in result.stdout
    assert "not found" not in result.stdout
    wanted = ["p00~0", "p00~7", "p01", "gone", "never was", "lost", "two words　and 👩‍👩‍👧 é~8"]
    (tmp_path / "keys.txt").write_text("\n".join(wanted) + "\n")
    result = mmfeat("shard", mixed_store, tmp_path / "keys", "--keys", tmp_path / "keys.txt")
    assert result.returncode == 0, result.stderr
    got = {row["__key__"] for row in rows_of(tmp_path / "keys")}
    assert got == set(wanted) - {"never was"}
    selection = manifest_of(tmp_path / "keys")["selection"]
    assert selection == {"read": 20, "wanted": 6, "absent": 1}
    assert "keys of --keys not found" in result.stdout


def test_a_list_of_keys_that_is_no_utf_8_is_read(mmfeat, toy_table, tmp_path, rows_of):
    (tmp_path / "keys.txt").write_bytes(b"p001\ncaf\xe9\n\np002  \r\n")
    result = mmfeat("shard", toy_table, tmp_path / "out", "--keys", tmp_path / "keys.txt")
    assert result.returncode == 0, result.stderr
    assert {row["__key__"] for row in rows_of(tmp_path / "out")} == {"p001", "p002"}


def test_a_condition_that_nothing_meets_is_one_clear_line(mmfeat, toy_table, tmp_path):
    for flags in (("--where", 'label == "bird"'), ("--where", "colour == 1")):
        result = mmfeat("shard", toy_table, tmp_path / "out", *flags)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert result.stderr.count("mmfeat: error:") == 1


def test_tars_of_img2dataset_keep_their_names_and_their_failures(
    mmfeat, picture, tmp_path, rows_of, samples_of
):
    folder = tmp_path / "laion"
    statuses = ["success", "failed_to_download", "success", "failed_to_resize"]
    members, rows = [], []
    for n, status in enumerate(statuses):
        key = f"00000000{n}"
        facts = {"url": f"http://x/{n}.jpg", "key": key, "status": status, "width": 24}
        rows.append({**facts, "error_message": None if status == "success" else "no way"})
        if status == "success":
            members += [
                (f"{key}.jpg", picture((n, 1, 1), kind="JPEG")),
                (f"{key}.txt", f"caption {n}".encode()),
                (f"{key}.json", json.dumps(facts).encode()),
            ]
    write_tar(folder / "00000.tar", members)
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    (folder / "00000_stats.json").write_text("{}")
    result = mmfeat("shard", folder, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = {row["__key__"]: row for row in rows_of(tmp_path / "out")}
    assert {key: row["status"] for key, row in found.items()} == {
        "000000000": "ok",
        "000000001": "failed",
        "000000002": "ok",
        "000000003": "failed",
    }
    assert "not_found" in found["000000001"]["reason"]
    samples = samples_of(tmp_path / "out")
    for name, content in members:
        key, extension = name.split(".")
        if extension != "json":
            assert samples[key][extension] == content
    assert found["000000000"]["url"] == "http://x/0.jpg"
