import numpy as np
import pytest

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.autotune import Settled
from mmfeat.extraction.column_writer import ColumnWriter, claim_column, encode_each
from mmfeat.extraction.decode import windows
from mmfeat.features.column_format import FeatureShape
from mmfeat.features.column_reader import read_column_file
from mmfeat.shards.reader import Row
from mmfeat.shards.tar import TarSample
from mmfeat.store.directory import read_receipt


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


SPEC = EncoderSpec("text", "text", "builtin", "text")


def claim(folder, encoder):
    return claim_column(folder, SPEC, encoder, Settled("float32", 64, {}))


def write(folder, rows, encoder=None, ahead=False):
    encoder = encoder or Lengths()
    column = claim(folder, encoder)
    with ColumnWriter(folder, "00000", column, encoder, batch_size=64) as writer:
        for window in windows(rows, {"text": encoder}, threads=2, ahead=ahead):
            writer.write(window.keys, window.items["text"], window.bytes_read["text"])
    writer.commit({"sha256": "s"}, seconds=1.0)
    return read_column_file(f"{folder}/00000.arrow"), read_receipt(folder, "00000")


@pytest.mark.parametrize("ahead", [False, True])
def test_each_record_has_one_row_and_one_outcome(tmp_path, ahead):
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
    shard, receipt = write(str(tmp_path), rows, ahead=ahead)
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
    results = encode_each(encoder, ["a", "bb", "trip", "cccc"], FeatureShape(2))
    assert [r.reason if isinstance(r, RecordError) else r[0] for r in results] == [
        1, 2, "encoder_failed", 4,
    ]  # fmt: skip
    assert "tripped" in results[2].detail
    assert encoder.batches == [4, 2, 2, 1, 1]


def test_an_encoder_that_returns_another_shape_is_an_error_of_the_encoder():
    encoder = Lengths()
    encoder.dim = 3
    with pytest.raises(MmfeatError, match=r"must return features of shape \(3,\); got \(2,\)"):
        encode_each(encoder, ["a"], FeatureShape(3))


def test_a_column_made_by_another_encoder_is_refused_with_both_fingerprints(tmp_path):
    first = claim(str(tmp_path), Lengths())
    assert claim(str(tmp_path), Lengths()) == first
    with pytest.raises(MmfeatError, match="they differ in version") as caught:
        claim(str(tmp_path), Lengths(version=2))
    assert first.fingerprint[:12] in str(caught.value)
