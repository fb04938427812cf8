import pytest

from mmfeat.errors import MmfeatError
from mmfeat.store import files
from mmfeat.store.directory import (
    FORMAT,
    MANIFEST,
    Receipt,
    claim,
    clear_failure,
    read_failures,
    read_manifest,
    read_receipt,
    require_receipts,
    totals,
    write_failure,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "store")


def receipt(folder, shard="00000", **changes):
    facts = {"shard": shard, "config_hash": "h", "records": 3, "out": 2, "rejected": {"x": 1}}
    made = Receipt(**{**facts, **changes})
    made.write(folder)
    return made


def test_a_receipt_that_does_not_add_up_is_never_written(folder):
    with pytest.raises(AssertionError, match="do not add up"):
        receipt(folder, out=3)
    assert read_receipt(folder, "00000") is None


def test_a_receipt_counts_only_while_its_files_are_there_whole(folder):
    path = files.join(folder, "00000.tar")
    with files.create(path) as output:
        output.write(b"data")
    made = receipt(folder, files={"00000.tar": output.describe()})
    assert read_receipt(folder, "00000") == made
    with files.create(path) as output:
        output.write(b"dat")
    assert read_receipt(folder, "00000") is None
    files.remove(path)
    assert read_receipt(folder, "00000") is None


def test_a_receipt_cut_short_counts_for_nothing(folder):
    receipt(folder)
    text = files.open_input(files.join(folder, "00000_stats.json")).read()
    with files.create(files.join(folder, "00000_stats.json")) as output:
        output.write(text[:20])
    assert read_receipt(folder, "00000") is None


def test_a_failure_is_written_down_and_can_be_taken_back(folder):
    write_failure(folder, "00000", "OSError: disk full")
    assert read_failures(folder) == {"00000": "OSError: disk full"}
    clear_failure(folder, "00000")
    clear_failure(folder, "00001")
    assert read_failures(folder) == {}


def test_totals_add_up_over_shards(folder):
    first = receipt(folder, status={"ok": 2, "failed": 1})
    second = receipt(folder, "00001", records=5, out=5, rejected={}, status={"ok": 5})
    sums = totals([first, second])
    assert (sums["records"], sums["out"], sums["rejected"]) == (8, 7, {"x": 1})
    assert sums["status"] == {"failed": 1, "ok": 7}


def test_missing_shards_are_named_with_the_reason(folder):
    receipt(folder)
    write_failure(folder, "00001", "OSError: disk full")
    with pytest.raises(MmfeatError, match=r"1 of 2 shards .* 00001 the first; 00001: OSError"):
        require_receipts(folder, ["00000", "00001"])


def test_a_directory_belongs_to_one_configuration(folder):
    first = claim(folder, "shards", {"n": 1, "source": {"sha256": "a"}})
    assert claim(folder, "shards", {"source": {"sha256": "a"}, "n": 1}) == first
    with pytest.raises(MmfeatError, match=r"source\.sha256: 'a' there, 'b' now") as caught:
        claim(folder, "shards", {"n": 1, "source": {"sha256": "b"}})
    assert first[:12] in str(caught.value)
    with pytest.raises(MmfeatError, match="kind: shards there, features now"):
        claim(folder, "features", {"n": 1})


def test_a_refusal_names_some_differences_and_counts_the_rest(folder):
    def config(value):
        columns = [{"name": "image", "dim": value}]
        return {"columns": columns, **{f"k{i}": value for i in range(6)}}

    claim(folder, "model", config(1))
    with pytest.raises(MmfeatError, match=r"columns\.image\.dim: 1 there, 2 now; .*; and 2 more"):
        claim(folder, "model", config(2))


def test_a_directory_with_foreign_files_is_refused(tmp_path):
    (tmp_path / "thesis.docx").write_bytes(b"")
    with pytest.raises(MmfeatError, match=r"must be empty .* got 'thesis\.docx'"):
        claim(str(tmp_path), "shards", {})


def test_a_store_is_read_only_when_finished_and_of_the_right_kind(folder):
    with pytest.raises(MmfeatError, match="Make them with: mmfeat shard"):
        read_manifest(folder, "shards")
    config_hash = claim(folder, "shards", {})
    with pytest.raises(MmfeatError, match="not finished"):
        read_manifest(folder, "shards")
    write_manifest(folder, "shards", config_hash, shards=[])
    assert read_manifest(folder, "shards")["config_hash"] == config_hash
    with pytest.raises(MmfeatError, match="must hold features; got 'shards'"):
        read_manifest(folder, "features")


def test_a_newer_format_is_refused(folder):
    path = files.join(folder, MANIFEST)
    files.write_json(path, {"kind": "shards", "format": FORMAT + 1})
    with pytest.raises(MmfeatError, match="Upgrade mmfeat"):
        read_manifest(folder, "shards")
