from collections import Counter

import pytest

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.store.receipt_sums import subtract, sum_receipts
from mmfeat.store.receipts import Receipt, read_receipt, require_receipts
from mmfeat.store.unfinished import clear_failure, read_failures, write_failure


def write_receipt(folder, shard="00000", **changes):
    values = {"shard": shard, "config_hash": "h", "records": 3, "out": 2, "rejected": {"x": 1}}
    receipt = Receipt(**{**values, **changes})
    receipt.write(folder)
    return receipt


def test_a_receipt_with_wrong_counts_is_not_written(folder):
    with pytest.raises(AssertionError, match="do not add up"):
        write_receipt(folder, out=3)
    assert read_receipt(folder, "00000") is None


def test_a_receipt_is_valid_while_its_files_have_their_size(folder):
    path = files.join(folder, "00000.tar")
    with files.create(path) as output:
        output.write(b"data")
    receipt = write_receipt(folder, files={"00000.tar": output.info()})
    assert read_receipt(folder, "00000") == receipt
    with files.create(path) as output:
        output.write(b"dat")
    assert read_receipt(folder, "00000") is None
    files.remove(path)
    assert read_receipt(folder, "00000") is None


def test_a_truncated_receipt_is_invalid(folder):
    write_receipt(folder)
    text = files.open_input(files.join(folder, "00000_stats.json")).read()
    with files.create(files.join(folder, "00000_stats.json")) as output:
        output.write(text[:20])
    assert read_receipt(folder, "00000") is None


def test_failures_are_recorded_and_cleared(folder):
    write_failure(folder, "00000", "OSError: disk full")
    assert read_failures(folder) == {"00000": "OSError: disk full"}
    clear_failure(folder, "00000")
    clear_failure(folder, "00001")
    assert read_failures(folder) == {}


def test_missing_shards_are_named_with_the_reason(folder):
    write_receipt(folder)
    write_failure(folder, "00001", "OSError: disk full")
    expected = r"1 of 2 shards of .* are missing, first 00001: OSError: disk full"
    with pytest.raises(MmfeatError, match=expected):
        list(require_receipts(folder, ["00000", "00001"]))


def test_receipts_add_up(folder):
    first = write_receipt(folder, status={"ok": 2, "failed": 1})
    second = write_receipt(folder, "00001", records=5, out=5, rejected={}, status={"ok": 5})
    totals = sum_receipts([first, second])
    assert (totals["records"], totals["out"], totals["rejected"]) == (8, 7, {"x": 1})
    assert totals["status"] == {"failed": 1, "ok": 7}


def test_rows_are_subtracted_from_the_totals(folder):
    totals = sum_receipts(
        [write_receipt(folder, records=6, out=4, rejected={"x": 2}, status={"ok": 4, "missing": 2})]
    )
    rest = subtract(totals, Counter({("missing", "x"): 1, ("ok", None): 3}))
    assert (rest["records"], rest["out"], rest["rejected"]) == (2, 1, {"x": 1})
    assert rest["status"] == {"missing": 1, "ok": 1}
