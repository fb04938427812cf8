import json

import pytest

from mmfeat.store.manifest import read_manifest


def manifest_of(folder):
    return read_manifest(str(folder), "shards")


@pytest.fixture
def mixed_store(mmfeat, make_table, tmp_path):
    """A store of several shards with ok, partial and failed records and unusual keys."""
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


def test_resharding_keeps_samples_and_failed_rows(
    mmfeat, mixed_store, tmp_path, read_rows, read_samples
):
    result = mmfeat("shard", mixed_store, tmp_path / "second", "--samples-per-shard", 9)
    assert result.returncode == 0, result.stderr
    assert read_samples(tmp_path / "second") == read_samples(mixed_store)
    columns = ("status", "reason", "image_sha256", "label", "n")
    before, after = (
        {row["__key__"]: [row[name] for name in columns] for row in read_rows(folder)}
        for folder in (mixed_store, tmp_path / "second")
    )
    assert after == before
    first, second = manifest_of(mixed_store), manifest_of(tmp_path / "second")
    for name in ("records", "out", "rejected", "status", "problems"):
        assert second["totals"][name] == first["totals"][name]
    assert second["columns"] == first["columns"]


def test_resharding_keeps_the_metadata_of_failed_records(mmfeat, make_table, tmp_path, read_rows):
    values = [[1, 2], {"y": None}, "s", 7, {"y": "failed"}]
    lines = [{"image": f"{n}.png", "x": x, "status": x, "n": n / 2} for n, x in enumerate(values)]
    make_table([{"file_name": f"{n}.png"} for n in range(4)])
    table = tmp_path / "raw" / "t.jsonl"
    table.write_text("\n".join(map(json.dumps, lines)))
    for source, name in ((table, "one"), (tmp_path / "one", "two"), (tmp_path / "two", "three")):
        assert mmfeat("shard", source, tmp_path / name).returncode == 0
    one, two, three = (read_rows(tmp_path / name) for name in ("one", "two", "three"))
    assert {row["__key__"]: json.loads(row["x"]) for row in one} == {
        str(n): x for n, x in enumerate(values)
    }
    for rows in (one, two, three):
        for row in rows:
            del row["input_row"]
    assert one == two == three


def test_resharding_with_equal_options_gives_equal_tars(mmfeat, toy_table, tmp_path):
    mmfeat("shard", toy_table, tmp_path / "first", "--samples-per-shard", 25)
    mmfeat("shard", tmp_path / "first", tmp_path / "second", "--samples-per-shard", 25)
    for name in ("00000.tar", "00001.tar", "00002.tar"):
        first, second = tmp_path / "first" / name, tmp_path / "second" / name
        assert first.read_bytes() == second.read_bytes()


def test_two_stores_are_merged_by_braces(mmfeat, make_table, tmp_path, read_samples):
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
    both, one, two = (read_samples(tmp_path / name) for name in ("both", "one", "two"))
    assert len(both) == len(one) + len(two) == 26
    shared = {key for key in both if key.startswith("same")}
    assert len(shared) == 2
    assert {both[key]["txt"] for key in shared} == {b"of one", b"of two"}
    assert both.items() >= {key: s for key, s in (one | two).items() if key != "same"}.items()
    glob = mmfeat("shard", f"{tmp_path}/[ot]*/*.tar", tmp_path / "glob")
    assert glob.returncode == 0, glob.stderr
    assert read_samples(tmp_path / "glob") == both


def test_a_store_is_filtered_by_condition_and_by_keys(
    mmfeat, mixed_store, tmp_path, read_samples, read_rows
):
    whole = read_samples(mixed_store)
    result = mmfeat(
        "shard", mixed_store, tmp_path / "where", "--where", 'label == "1" and int(n) > 9'
    )
    assert result.returncode == 0, result.stderr
    assert {row["n"] for row in read_rows(tmp_path / "where")} == {"10", "13", "16", "19"}
    assert read_samples(tmp_path / "where").items() <= whole.items()
    assert "not selected" in result.stdout
    assert "not found" not in result.stdout
    wanted = ["p00~0", "p00~7", "p01", "gone", "never was", "lost", "two words　and 👩‍👩‍👧 é~8"]
    (tmp_path / "keys.txt").write_text("\n".join(wanted) + "\n")
    result = mmfeat("shard", mixed_store, tmp_path / "keys", "--keys", tmp_path / "keys.txt")
    assert result.returncode == 0, result.stderr
    got = {row["__key__"] for row in read_rows(tmp_path / "keys")}
    assert got == set(wanted) - {"never was"}
    selection = manifest_of(tmp_path / "keys")["selection"]
    assert selection == {"read": 20, "wanted": 6, "absent": 1}
    assert "keys of --keys not found" in result.stdout


def test_a_list_of_keys_need_not_be_utf8(mmfeat, toy_table, tmp_path, read_rows):
    (tmp_path / "keys.txt").write_bytes(b"p001\ncaf\xe9\n\np002  \r\n")
    result = mmfeat("shard", toy_table, tmp_path / "out", "--keys", tmp_path / "keys.txt")
    assert result.returncode == 0, result.stderr
    assert {row["__key__"] for row in read_rows(tmp_path / "out")} == {"p001", "p002"}


def test_a_condition_that_matches_nothing_is_an_error(mmfeat, toy_table, tmp_path):
    for flags in (("--where", 'label == "bird"'), ("--where", "colour == 1")):
        result = mmfeat("shard", toy_table, tmp_path / "out", *flags)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert result.stderr.count("mmfeat: error:") == 1
