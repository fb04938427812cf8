import threading
import time

import numpy as np
import pytest

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.errors import MmfeatError, RecordError
from mmfeat.extraction.column_start import claim_column
from mmfeat.extraction.column_writer import ColumnWriter
from mmfeat.extraction.encoding.batch_encoding import encode_batch
from mmfeat.extraction.encoding.column_encoder import ColumnEncoder
from mmfeat.extraction.encoding.decode import decode_windows
from mmfeat.extraction.tuning import TunedSettings
from mmfeat.features.column_format import FeatureShape
from mmfeat.features.column_reader import read_column_file
from mmfeat.features.table_files import TableFiles
from mmfeat.shards.shard_reader import ShardRecord
from mmfeat.shards.tar_reader import TarSample


class TextLengths(Encoder):
    """Encodes a text as its length, twice. Fails on some words."""

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


def make_record(key, text=None, statuses=None):
    sample = None if text is None else TarSample(key, {"txt": text.encode()})
    return ShardRecord(key, statuses or {"text": "ok"}, sample)


SPEC = EncoderSpec("text", "text", "builtin", "text")


def claim(folder, encoder):
    return claim_column(folder, SPEC, encoder, TunedSettings("float32", 64, {}))


def write_shard(folder, records, prefetch, encoder=None):
    encoder = encoder or TextLengths()
    table = TableFiles(folder, "text", 2)
    column = claim(table.receipts, encoder)
    windows = decode_windows(
        records, {"text": encoder}, {"text": "text"}, threads=2, prefetch=prefetch
    )
    with ColumnWriter(table, "00000", ColumnEncoder(column, encoder, batch_size=64)) as writer:
        for window in windows:
            writer.write(window.keys, window.items["text"], window.bytes_read["text"])
    writer.commit({"sha256": "s"}, seconds=1.0)
    rows = read_column_file(*table.find_rows("00000"), column.shape)
    return rows, table.read_receipt("00000")


@pytest.mark.parametrize("prefetch", [False, True])
def test_each_record_has_one_row_and_one_status(tmp_path, prefetch):
    records = [
        make_record("a", "one"),
        make_record("b", None, {"text": "not_found"}),
        make_record("c", "bad bytes"),
        make_record("d", "trip"),
        make_record("e", "nan"),
        make_record("f", "big"),
        make_record("g", "three"),
    ]
    shard, receipt = write_shard(str(tmp_path), records, prefetch)
    assert shard.present.tolist() == [True, *[False] * 5, True]
    assert shard.features[[0, 6]].tolist() == [[3, 3], [5, 5]]
    assert shard.reasons.to_pylist() == [
        None, "not_found", "undecodable", "encoder_failed",
        "not_finite", "not_finite", None,
    ]  # fmt: skip
    assert (receipt.records, receipt.out) == (7, 2)
    assert receipt.rejected["not_finite"] == 2
    assert receipt.status == {"ok": 2, "missing": 1, "failed": 4}


def test_failing_batch_is_split_until_the_bad_input_is_alone():
    encoder = TextLengths()
    results = [*encode_batch(encoder, ["a", "bb", "trip", "cccc"], FeatureShape(2))]
    assert [r.reason if isinstance(r, RecordError) else r[0] for r in results] == [
        1, 2, "encoder_failed", 4,
    ]  # fmt: skip
    assert "tripped" in results[2].detail
    assert encoder.batches == [4, 2, 2, 1, 1]


def test_wrong_feature_shape_is_an_error():
    encoder = TextLengths()
    encoder.dim = 3
    with pytest.raises(MmfeatError, match=r"must return features of shape \(3,\); got \(2,\)"):
        encode_batch(encoder, ["a"], FeatureShape(3))


def test_column_of_another_encoder_is_refused(tmp_path):
    first = claim(str(tmp_path), TextLengths())
    assert claim(str(tmp_path), TextLengths()) == first
    with pytest.raises(MmfeatError, match="different: version") as caught:
        claim(str(tmp_path), TextLengths(version=2))
    assert first.fingerprint[:12] in str(caught.value)


class ParallelLengths(TextLengths):
    """Encodes several batches at the same time; the first ones take longest."""

    parallel_batches = 3

    def __init__(self):
        super().__init__()
        self.active = self.most_active = 0
        self._lock = threading.Lock()
        self._prepared = threading.local()

    def prepare_thread(self):
        self._prepared.done = True

    def encode(self, batch):
        assert self._prepared.done
        with self._lock:
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        time.sleep(0.02 / (1 + len(self.batches)))
        features = super().encode(batch)
        with self._lock:
            self.active -= 1
        return features


def test_batches_that_overlap_give_the_same_file(tmp_path):
    texts = ["word " * (n % 7 + 1) for n in range(1500)]
    texts[3], texts[700], texts[1400] = "bad bytes", "trip", "nan"
    records = [make_record(str(n), text) for n, text in enumerate(texts)]
    encoder = ParallelLengths()
    _, one = write_shard(str(tmp_path / "one"), records, prefetch=False)
    _, many = write_shard(str(tmp_path / "many"), records, prefetch=True, encoder=encoder)
    assert one.files == many.files
    assert one.rejected == many.rejected == {"undecodable": 1, "encoder_failed": 1, "not_finite": 1}
    assert encoder.most_active > 1


def test_an_error_while_batches_overlap_leaves_no_file(tmp_path):
    encoder = ParallelLengths()
    table = TableFiles(str(tmp_path), "text", 2)
    column = claim(table.receipts, encoder)
    with (
        pytest.raises(KeyboardInterrupt),
        ColumnWriter(table, "00000", ColumnEncoder(column, encoder, batch_size=8)) as writer,
    ):
        writer.write([str(n) for n in range(200)], ["a"] * 200, 200)
        raise KeyboardInterrupt
    assert not list(tmp_path.rglob("*.arrow"))
    assert not encoder.active


def test_a_failing_gpu_fails_the_shard_and_no_record(tmp_path):
    class Broken(TextLengths):
        def encode(self, batch):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        write_shard(str(tmp_path), [make_record("a", "one")], False, Broken())
    assert not list(tmp_path.rglob("*_stats.json"))
    assert not list(tmp_path.rglob("*.arrow"))
