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

from mmfeat.store.manifest import read_manifest


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
    """A local web server: its folder, its address, its requests, and failures per path."""
    folder = tmp_path / "www"
    folder.mkdir()
    requests, failures = [], {}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if failures.get(self.path, 0):
                failures[self.path] -= 1
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", requests, failures
    server.shutdown()
    thread.join()
    server.server_close()


def test_spoken_digits_are_sharded_unchanged(mmfeat, real_data, read_rows, read_samples, tmp_path):
    folder = real_data("spoken_digits")
    with (folder / "metadata.csv").open() as file:
        table = list(csv.DictReader(file))
    result = mmfeat("shard", folder / "metadata.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    totals = manifest_of(tmp_path / "out")["totals"]
    assert (totals["records"], totals["out"], totals["rejected"]) == (len(table), len(table), {})
    assert len(table) == 2500
    assert manifest_of(tmp_path / "out")["slots"] == ["audio", "text"]
    samples, rows = read_samples(tmp_path / "out"), read_rows(tmp_path / "out")
    assert {row["input_row"] for row in rows} == set(range(2500))
    assert all(row["status"] == "ok" for row in rows)
    for row in rows:
        source = table[row["input_row"]]
        assert row["__key__"] == Path(source["file_name"]).stem
        assert samples[row["__key__"]]["wav"] == (folder / source["file_name"]).read_bytes()
        assert samples[row["__key__"]]["txt"].decode() == source["text"]
        assert row["speaker"] == source["speaker"]


def test_a_folder_with_metadata_csv_equals_the_table(mmfeat, toy_table, tmp_path, read_rows):
    toy_table.rename(toy_table.parent / "metadata.csv")
    assert mmfeat("shard", toy_table.parent, tmp_path / "folder").returncode == 0
    table = toy_table.parent / "metadata.csv"
    assert mmfeat("shard", table, tmp_path / "table").returncode == 0
    assert read_rows(tmp_path / "folder") == read_rows(tmp_path / "table")
    tars = [(tmp_path / name / "00000.tar").read_bytes() for name in ("folder", "table")]
    assert tars[0] == tars[1]


def test_split_folders_with_metadata_files_set_the_split(mmfeat, make_table, tmp_path, read_rows):
    make_table([{"file_name": "a.png", "text": "one"}], "raw/train/metadata.csv")
    make_table([{"file_name": "b.png", "text": "two"}], "raw/test/metadata.csv")
    assert mmfeat("shard", tmp_path / "raw", tmp_path / "out").returncode == 0
    assert {row["__key__"]: row["split"] for row in read_rows(tmp_path / "out")} == {
        "a": "train",
        "b": "test",
    }


def test_a_hugging_face_table_keeps_bytes_and_order(
    mmfeat, picture, tmp_path, read_rows, read_samples
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
        rows, samples = read_rows(out), read_samples(out)
        assert ([row["n"] for row in rows] == list(range(50))) == (shuffle == "auto")
        by_number = {row["n"]: row for row in rows}
        for n in set(range(50)) - {8, 9}:
            assert samples[by_number[n]["__key__"]]["png"] == pictures[n]
        assert by_number[8]["reason"] == "image:missing"
        assert by_number[9]["reason"] == "image:empty"


def test_base64_in_json_lines_is_decoded(mmfeat, picture, tmp_path, read_samples, read_rows):
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
    samples = read_samples(tmp_path / "out")
    for key in ("plain", "url", "struct"):
        assert next(v for e, v in samples[key].items() if e in ("jpg", "jpeg")) == data
        assert len(samples[key]) == 3
        assert text not in samples[key]["json"].decode()
    reasons = {row["__key__"]: row["reason"] for row in read_rows(tmp_path / "out")}
    assert reasons["cut"] == "image:undecodable"


def test_urls_are_fetched_or_have_a_reason(
    mmfeat, served, picture, tmp_path, read_rows, read_samples
):
    folder, address, requests, failures = served
    for n in range(12):
        (folder / f"p{n}.png").write_bytes(picture((n, 0, 0)))
    (folder / "page.png").write_text("<html>no picture</html>")
    (folder / "nothing.png").write_bytes(b"")
    failures["/p3.png"], failures["/p4.png"] = 1, 9
    names = [*(f"p{n}.png?size=1" for n in range(3)), *(f"p{n}.png" for n in range(3, 12))]
    urls = [f"{address}/{name}" for name in [*names, "page.png", "nothing.png", "gone.png"]]
    urls.append("http://127.0.0.1:9/refused.png")
    urls[5] = urls[5].replace("http", "HTTP")
    lines = "".join(f"{url},words {n}\n" for n, url in enumerate(urls))
    (tmp_path / "t.csv").write_text("url,text\n" + lines)
    result = mmfeat(
        "shard", "--allow-private", tmp_path / "t.csv", tmp_path / "out", "--http-retries", 1
    )
    assert result.returncode == 0, result.stderr
    rows = {row["__key__"]: row for row in read_rows(tmp_path / "out")}
    samples = read_samples(tmp_path / "out")
    for n in {*range(12)} - {4}:
        assert rows[f"p{n}"]["status"] == "ok"
        assert samples[f"p{n}"]["png"] == (folder / f"p{n}.png").read_bytes()
    assert {key: rows[key]["reason"] for key in ("p4", "page", "nothing", "gone", "refused")} == {
        "p4": "image:unavailable",
        "page": "image:undecodable",
        "nothing": "image:empty",
        "gone": "image:not_found",
        "refused": "image:unavailable",
    }
    assert "503" in rows["p4"]["error"]
    assert requests.count("/p4.png") == 2


def test_img2dataset_tars_keep_keys_and_failures(
    mmfeat, picture, tmp_path, read_rows, read_samples
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
    rows_by_key = {row["__key__"]: row for row in read_rows(tmp_path / "out")}
    assert {key: row["status"] for key, row in rows_by_key.items()} == {
        "000000000": "ok",
        "000000001": "failed",
        "000000002": "ok",
        "000000003": "failed",
    }
    assert "not_found" in rows_by_key["000000001"]["reason"]
    samples = read_samples(tmp_path / "out")
    for name, content in members:
        key, extension = name.split(".")
        if extension != "json":
            assert samples[key][extension] == content
    assert rows_by_key["000000000"]["url"] == "http://x/0.jpg"
