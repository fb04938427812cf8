import pyarrow as pa
import pytest

from mmfeat.extraction.account import RecordAccount


def rows_of(**reasons):
    return pa.table({name: pa.array(values, pa.string()) for name, values in reasons.items()})


def test_records_are_counted_over_all_columns():
    account = RecordAccount(["image", "text"])
    account.add_rows(
        rows_of(
            image=[None, "missing", "missing", None, "undecodable"],
            text=[None, None, "empty", "empty", None],
        )
    )
    assert account.totals == {
        "records": 5,
        "out": 4,
        "rejected": {"image:missing, text:empty": 1},
        "status": {"failed": 1, "ok": 1, "partial": 3},
        "problems": {
            "image:missing": 1, "image:missing, text:empty": 1, "image:undecodable": 1,
            "text:empty": 1,
        },
    }  # fmt: skip


@pytest.mark.parametrize("columns", [["image"], ["image", "text"]])
def test_receipts_of_one_incomplete_column_suffice(columns):
    by_receipts, by_rows = RecordAccount(columns), RecordAccount(columns)
    reasons = {"image": ["missing", None, "empty"], "text": [None] * 3}
    rejected = {"image": {"missing": 1, "empty": 1}, "text": {}}
    assert by_receipts.add_shard(3, {name: rejected[name] for name in columns})
    by_rows.add_rows(rows_of(**{name: reasons[name] for name in columns}))
    assert by_receipts.totals == by_rows.totals


def test_receipts_of_two_incomplete_columns_do_not_suffice():
    account = RecordAccount(["image", "text"])
    assert not account.add_shard(3, {"image": {"missing": 1}, "text": {"empty": 1}})
    assert account.totals["records"] == 0
