from tests.faults import assert_one_error


def test_a_dry_run_writes_nothing_and_prints_the_plan(mmfeat, make_table, tmp_path):
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


def test_a_dry_run_leaves_a_finished_store_unchanged(mmfeat, toy_table, tmp_path, snapshot):
    assert mmfeat("shard", toy_table, tmp_path / "out").returncode == 0
    before = snapshot(tmp_path / "out")
    flags = ("--samples-per-shard", 7, "--dry-run")
    assert mmfeat("shard", toy_table, tmp_path / "out", *flags).returncode == 0
    assert snapshot(tmp_path / "out") == before


def test_a_dry_run_refuses_wrong_options(mmfeat, toy_table, tmp_path):
    for flags in (("--require", "audio"), ("--key-column", "label"), ("--where", "nowhere == 1")):
        assert assert_one_error(mmfeat("shard", toy_table, tmp_path / "out", *flags, "--dry-run"))
    assert not (tmp_path / "out").exists()
