import csv
import json

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


def test_keys_and_texts_of_any_script_are_kept(
    mmfeat, make_table, tmp_path, read_rows, read_samples
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
    samples = read_samples(tmp_path / "out")
    stored = {row["input_row"]: row for row in read_rows(tmp_path / "out")}
    for n, (word, text) in enumerate(zip(UNICODE, texts, strict=True)):
        key = stored[n]["__key__"]
        if not set(word) & set("<>"):
            assert key.encode() == word.strip().encode()
        assert stored[n]["status"] == "ok", stored[n]
        assert samples[key]["txt"] == text.encode()
        assert json.loads(samples[key]["json"])[word] == text
        column = f"meta_{word}" if word == "__key__" else word
        assert stored[n][column] == text
    assert mmfeat("shard", tmp_path / "out", tmp_path / "again").returncode == 0
    assert read_samples(tmp_path / "again") == samples


def test_keys_are_case_sensitive(mmfeat, tmp_path, make_table, read_samples):
    words = ["Cat", "cat", "CAT", "cAT"]
    table = make_table([{"id": word, "text": f"a {word}"} for word in words], pictures=False)
    assert mmfeat("shard", table, tmp_path / "out", "--key-column", "id").returncode == 0
    samples = read_samples(tmp_path / "out")
    assert {key: sample["txt"].decode() for key, sample in samples.items()} == {
        word: f"a {word}" for word in words
    }


def test_very_long_keys_stay_distinct(mmfeat, tmp_path, make_table, read_samples, read_rows):
    ends = [("x" * 99), "x" * 199, "x" * 200, "x" * 201, "x" * 5000, "x" * 5001, "日" * 3000]
    table = make_table([{"id": end, "text": f"t{n}"} for n, end in enumerate(ends)], pictures=False)
    assert mmfeat("shard", table, tmp_path / "out", "--key-column", "id").returncode == 0
    samples = read_samples(tmp_path / "out")
    for row in read_rows(tmp_path / "out"):
        key, end = row["__key__"], ends[row["input_row"]]
        assert len(key.encode()) <= 200
        assert samples[key]["txt"].decode() == f"t{row['input_row']}"
        assert row["id"] == end
        assert len(end.encode()) > 200 or key == end
    assert len(samples) == len(ends)


def test_long_paths_of_a_folder_are_kept(mmfeat, tmp_path, picture, read_samples):
    deep = tmp_path / "raw" / "/".join(["d" * 80] * 6)
    deep.mkdir(parents=True)
    (deep / f"{'f' * 150}.png").write_bytes(picture())
    assert mmfeat("shard", tmp_path / "raw", tmp_path / "out").returncode == 0
    (key,) = read_samples(tmp_path / "out")
    assert key == str((deep / ("f" * 150)).relative_to(tmp_path / "raw"))


def test_integers_and_floats_share_a_column(mmfeat, tmp_path, read_rows):
    numbers = [2**53, 1.5, -3, 0, None, 1e300]
    lines = [json.dumps({"text": f"t{n}", "x": number}) for n, number in enumerate(numbers)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    stored = {row["input_row"]: row["x"] for row in read_rows(tmp_path / "out")}
    assert [stored[n] for n in range(6)] == [None if x is None else float(x) for x in numbers]


def test_integers_that_no_float_can_hold_stay_exact_beside_floats(mmfeat, tmp_path, read_rows):
    lines = [json.dumps({"text": f"t{n}", "x": n}) for n in (2**53 + 1, 1.5)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    result = mmfeat("shard", tmp_path / "t.jsonl", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert {str(row["x"]) for row in read_rows(tmp_path / "out")} == {str(2**53 + 1), "1.5"}


def test_a_table_need_not_be_utf8(mmfeat, tmp_path, read_rows):
    with (tmp_path / "t.csv").open("w", encoding="latin-1", newline="") as file:
        csv.writer(file).writerows([["text", "größe", "name"], ["plain", "1", "Müller"]])
    result = mmfeat("shard", tmp_path / "t.csv", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (row,) = read_rows(tmp_path / "out")
    assert (row["status"], row["reason"]) == ("partial", "json:undecodable")
    assert (row["name"], row["error"]) == (None, "json:undecodable: not UTF-8: 'name'")
    assert row["gr\\udcf6\\udcdfe"] == "1"
    assert "t.csv: line 1 is not UTF-8" in result.stderr
