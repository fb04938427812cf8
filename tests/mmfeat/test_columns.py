import numpy as np
import pytest

from mmfeat.alignment import Row
from mmfeat.columns import ColumnWriter, claim_column, encode_each
from mmfeat.encoders import Encoder
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.features import read_column
from mmfeat.shards import TarSample
from mmfeat.store import read_receipt


class Lengths(Encoder):
    """The length of a text, twice; trips over some words."""

    modality = "text"
    dim = 2

    def __init__(self, version=1):
        self.version = version
        self.batches = []

    def identity(self):
        return {"name": "test:lengths", "version": self.version}

    def decode(self, data):
        if data == b"bad bytes":
            raise RecordError("undecodable", "bad bytes")
        return data.decode()

    def encode(self, batch):
        self.batches.append(len(batch))
        if "trip" in batch:
            raise RuntimeError("tripped")
        return np.array([[{"nan": np.nan, "big": 1e6}.get(t, len(t))] * 2 for t in batch])


def row(key, text=None, statuses=None, problem=None):
    sample = None if text is None else TarSample(key, {"txt": text.encode()})
    return Row(key, statuses or {"text": "ok"}, sample, problem)


def write(folder, rows, encoder=None):
    encoder = encoder or Lengths()
    column = claim_column(folder, "text", encoder)
    with ColumnWriter(folder, "00000", column, encoder) as writer:
        writer.write(rows, threads=2)
    writer.commit({"sha256": "s"}, seconds=1.0)
    return read_column(f"{folder}/00000.arrow"), read_receipt(folder, "00000")


def test_each_record_has_one_row_and_one_outcome(tmp_path):
    rows = [
        row("a", "one"),
        row("b", None, {"text": "not_found"}),
        row("c", "bad bytes"),
        row("d", "trip"),
        row("e", "nan"),
        row("f", "big"),
        row("g", "three"),
        row("h", problem=RecordError("damaged_shard", "cut")),
    ]
    shard, receipt = write(str(tmp_path), rows)
    assert shard.present.tolist() == [True, *[False] * 5, True, False]
    assert shard.features[[0, 6]].tolist() == [[3, 3], [5, 5]]
    assert shard.reasons.to_pylist() == [
        None, "not_found", "undecodable", "encoder_failed",
        "not_finite", "not_finite", None, "damaged_shard",
    ]  # fmt: skip
    assert (receipt.records, receipt.out) == (8, 2)
    assert receipt.rejected["not_finite"] == 2
    assert receipt.status == {"ok": 2, "missing": 1, "failed": 5}


def test_a_batch_that_fails_is_split_until_the_bad_record_is_alone():
    encoder = Lengths()
    results = encode_each(encoder, ["a", "bb", "trip", "cccc"])
    assert [r.reason if isinstance(r, RecordError) else r[0] for r in results] == [
        1, 2, "encoder_failed", 4,
    ]  # fmt: skip
    assert "tripped" in results[2].detail
    assert encoder.batches == [4, 2, 2, 1, 1]


def test_an_encoder_that_returns_another_shape_is_an_error_of_the_encoder():
    encoder = Lengths()
    encoder.dim = 3
    with pytest.raises(MmfeatError, match=r"must return shape \(1, 3\); got \(1, 2\)"):
        encode_each(encoder, ["a"])


def test_a_column_made_by_another_encoder_is_refused_with_both_fingerprints(tmp_path):
    first = claim_column(str(tmp_path), "text", Lengths())
    assert claim_column(str(tmp_path), "text", Lengths()) == first
    with pytest.raises(MmfeatError, match="they differ in version") as caught:
        claim_column(str(tmp_path), "text", Lengths(version=2))
    assert first.fingerprint[:12] in str(caught.value)
