import pytest

from mmfeat.encoders import Encoder, EncoderSpec
from mmfeat.errors import DamagedFileError, RecordError
from mmfeat.extraction.encoding.decode import decode_windows
from mmfeat.features import RowStatus
from mmfeat.shards import ShardRecord
from mmfeat.shards.tar_reader import TarSample


def decode(record):
    encoders = {"text": EncoderSpec.parse("text=builtin:text").load()}
    windows = decode_windows([record], encoders, {"text": "text"}, threads=1, prefetch=False)
    ((item,),) = [window.items["text"] for window in windows]
    return item


def test_a_rejected_record_has_no_feature_of_its_good_parts():
    item = decode(ShardRecord("a", {"text": "ok", "image": "not_found"}))
    assert item == RowStatus("missing", "missing", "sharding rejected the record")


def test_a_part_that_the_table_promises_must_be_in_the_tar():
    with pytest.raises(DamagedFileError, match=r"must have the text of 'a'"):
        decode(ShardRecord("a", {"text": "ok"}, TarSample("a")))


class Kept(Encoder):
    """Keeps members that begin with `k`; other members are decoded, and `bad` cannot be."""

    modality = "text"
    dim = 1

    def identity(self):
        return {}

    def keep(self, data):
        return ("kept", bytes(data)) if data[:1] == b"k" else None

    def decode(self, data):
        if data == b"bad":
            raise RecordError("undecodable", "bad")
        return ("decoded", data)

    def encode(self, batch):
        raise NotImplementedError


def test_members_that_need_no_decoding_keep_their_place():
    texts = [b"k1", b"d2", b"bad", b"k4", *[b"d"] * 20, b"k"]
    records = [
        ShardRecord(str(row), {"text": "ok"}, TarSample(str(row), {"txt": memoryview(text)}))
        for row, text in enumerate(texts)
    ]
    records.append(ShardRecord("gone", {"text": "not_found"}))
    encoders = {"text": Kept()}
    windows = decode_windows(records, encoders, {"text": "text"}, threads=2, prefetch=True)
    (window,) = windows
    items = window.items["text"]
    assert items[:2] == [("kept", b"k1"), ("decoded", b"d2")]
    assert items[2] == RowStatus("failed", "undecodable", "bad")
    assert items[3:5] == [("kept", b"k4"), ("decoded", b"d")]
    assert items[-2:] == [("kept", b"k"), RowStatus("missing", "not_found")]
    assert window.bytes_read["text"] == sum(map(len, texts)) - len(b"bad")
