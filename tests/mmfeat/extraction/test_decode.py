import pytest

from mmfeat.encoders import EncoderSpec
from mmfeat.errors import DamagedFileError
from mmfeat.extraction.decode import decode_windows
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
